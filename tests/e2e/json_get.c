/* SPDX-License-Identifier: Apache-2.0 */
/* json_get.c - one value of a JSON text, for tests in shell:  json_get memory.weight_bytes < text
 *
 * Strings are printed as they are, the rest as JSON.  Exit code 1: not JSON, or no such value. */
#include "base/json.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct json_limits limits = {64u << 20, 32, 4u << 20};
    struct llmos_error err = {0};
    const json_t *value;
    json_t *whole;
    struct buf text;
    char *at;
    int code;

    buf_init(&text, 64u << 20);
    if (argc != 2 || file_read("-", &text, &err) < 0 ||
        json_parse(&whole, buf_str(&text), &limits, &err) < 0) {
        fprintf(stderr, "json_get: %s\n", err.text);
        buf_fini(&text);
        return 1;
    }
    value = whole;
    for (char *part = strtok_r(argv[1], ".", &at); part && value; part = strtok_r(NULL, ".", &at))
        value = json_is_array(value) ? json_array_get(value, (size_t)atol(part))
                                     : json_object_get(value, part);
    code = value ? 0 : 1;
    if (json_is_string(value))
        fwrite(json_string_value(value), 1, json_string_length(value), stdout);
    else if (value)
        json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(whole);
    buf_fini(&text);
    return code;
}
