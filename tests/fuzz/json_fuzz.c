/* SPDX-License-Identifier: Apache-2.0 */
/* json_fuzz.c - any bytes as JSON: refused with a sentence, or a value whose strings can be written
 * and read again. */
#include "base/json.h"
#include "base/jsontext.h"
#include "base/utf8.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_strings(const json_t *value, struct buf *out)
{
    const char *key;
    json_t *part;
    size_t i;

    if (json_is_string(value))
        json_put_string(out, (struct str){json_string_value(value), json_string_length(value)});
    if (json_is_number(value))
        json_put_number(out, json_number_value(value));
    json_array_foreach(value, i, part) write_strings(part, out);
    json_object_foreach((json_t *)(uintptr_t)value, key, part)
    {
        json_put_string(out, str_of(key));
        write_strings(part, out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_limits limits = {1 << 16, 16, 1000};
    struct llmos_error err = {0};
    struct json_fault fault;
    json_t *value = NULL, *again = NULL;
    struct buf out;
    int64_t i;
    double d;

    if (json_parse(&value, (struct str){(const char *)data, size}, &limits, &err) < 0) {
        if (err.code == 0 || err.text[0] == '\0')
            abort();
        return 0;
    }
    buf_init(&out, 1 << 20);
    write_strings(value, &out);
    if (out.bad || utf8_valid_bytes(buf_str(&out)) != out.len)
        abort();
    buf_clear(&out);
    buf_putc(&out, '[');
    json_put_string(&out, (struct str){(const char *)data, size});
    buf_putc(&out, ']');
    if (json_parse(&again, buf_str(&out), &(struct json_limits){1 << 20, 2, 4}, &err) < 0 &&
        err.code !=
            LLMOS_EFORMAT) /* a zero byte inside is the one thing we write and do not read */
        abort();
    json_decref(again);
    json_take_integer(value, "", "a", -5, 5, &i, &fault);
    json_take_number(value, "x.", "a", -5, 5, &d, &fault);
    json_decref(value);
    buf_fini(&out);
    return 0;
}
