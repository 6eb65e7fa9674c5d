/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - JSON from strangers, read under limits.
 *
 * json_parse looks at the bytes with a loop of its own (size, depth, number of values, no
 * recursion) before the library behind it sees one of them.  Duplicate keys, trailing garbage, NaN,
 * Infinity, numbers beyond double or int64, broken UTF-8 and the character U+0000 are refused, with
 * line and column.  The json_take calls read one field each, check type and range, and on a fault
 * name the field as OpenAI's "param" does: "messages[2].content".  Any thread; one value, one
 * thread. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"

#include <jansson.h>

struct json_limits {
    size_t bytes_max, depth_max, values_max; /* a value costs about 100 bytes of memory */
};
#define JSON_LIMITS_INIT        \
    {                           \
        8u << 20, 32, 1u << 18, \
    }

/* On success *value is a new reference, for json_decref.  The text is one object or array. */
int json_parse(json_t **value, struct str text, const struct json_limits *limits,
               struct llmos_error *err);

/* For those that build values by many calls and look once at the end: did an allocation fail in
 * this thread since it was watched? */
void json_memory_watch(void);
bool json_memory_failed(void);

/* What was wrong with which field. */
struct json_fault {
    char param[128]; /* empty: the whole text */
    struct llmos_error err;
};

/* Fills the fault and returns code.  The field's name is "prefix" + "key". */
int json_fault(struct json_fault *fault, int code, const char *prefix, const char *key,
               const char *format, ...) PRINTF_LIKE(5, 6);

/* Each returns 1 and sets *out if the field is there, 0 if it is absent or null (*out stays), or
 * LLMOS_EINVAL with the fault.  `prefix` stands in front of the key in the field's name: "" or
 * "stream_options.".  Ranges are inclusive. */
int json_take_number(const json_t *object, const char *prefix, const char *key, double min,
                     double max, double *out, struct json_fault *fault);
int json_take_integer(const json_t *object, const char *prefix, const char *key, int64_t min,
                      int64_t max, int64_t *out, struct json_fault *fault);
int json_take_bool(const json_t *object, const char *prefix, const char *key, bool *out,
                   struct json_fault *fault);
/* The slice lives as long as the object.  Between 1 and max bytes. */
int json_take_string(const json_t *object, const char *prefix, const char *key, size_t max,
                     struct str *out, struct json_fault *fault);

/* Appends the value in one line, with a blank behind commas and colons as Python writes it; keys
 * stay in the order of the text it came from.  Recursion is bounded by what json_parse accepted. */
void json_put(struct buf *out, const json_t *value);

/* "a string", "a number", ... for sentences. */
const char *json_kind(const json_t *value);

#endif
