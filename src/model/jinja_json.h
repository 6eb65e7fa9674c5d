/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_json.h - JSON and the values of chat templates.
 *
 * The engine links no library for JSON; this reads just what a request carries, into a store, under
 * the store's limits, and writes what | tojson writes: json.dumps of Python. */
#ifndef MODEL_JINJA_JSON_H
#define MODEL_JINJA_JSON_H

#include "model/jinja_value.h"

#define JINJA_JSON_DEPTH_MAX 64

/* The text as a value whose strings and numbers were said; undefined: failed.  Integers that do not
 * fit 64 bits, keys that come twice, and what is no JSON are refused with the byte where it is. */
struct jinja_value jinja_read_json(struct jinja_store *s, struct str text);

struct jinja_json_style {
    const struct jinja_str *indent; /* of one level; NULL: all in one line */
    struct jinja_str item_separator, key_separator;
    bool sort_keys, ascii;
};
void jinja_put_json(struct jinja_build *b, struct jinja_value v,
                    const struct jinja_json_style *style);

#endif
