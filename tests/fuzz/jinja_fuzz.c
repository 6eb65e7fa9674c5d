/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_fuzz.c - any template over any values, parted by a zero byte: a sentence, or a text in
 * which what was said is still known to be said. */
#include "base/utf8.h"
#include "model/jinja.h"
#include "model/jinja_json.h"

#include <stdlib.h>

#define CLAIM(claim)  \
    do {              \
        if (!(claim)) \
            abort();  \
    } while (0)

/* A character that a template without it, and without its number, cannot make. */
#define SECRET "\xee\x80\x80"

static const struct jinja_limits limits = {8u << 20, 1u << 16, 200000, 150};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_said(struct jinja_str out)
{
    CLAIM(utf8_valid_bytes((struct str){out.at, out.len}) == out.len);
    for (size_t i = 0; i + 3 <= out.len; i++)
        if (memcmp(out.at + i, SECRET, 3) == 0)
            CLAIM(out.said && out.said[i] && out.said[i + 1] && out.said[i + 2]);
}

static void render(const struct jinja_template *t, struct str json, bool may_spell)
{
    struct llmos_error err = {0};
    struct jinja_store s;
    struct jinja_value variables;
    struct jinja_str out;

    jinja_store_init(&s, &limits, &err);
    variables = jinja_read_json(&s, json);
    if (s.rc == 0 && variables.kind != JINJA_DICT) {
        struct jinja_value v = variables;

        variables = jinja_dict(&s);
        jinja_set_name(&s, variables, "messages", v);
    }
    if (s.rc == 0)
        jinja_set_name(&s, variables, "secret",
                       jinja_copy(&s, STR("a" SECRET " " SECRET "B"), true));
    if (jinja_render(t, &s, variables, &out) == 0) {
        CLAIM(out.len <= limits.output_bytes);
        if (!may_spell)
            check_said(out);
    } else {
        CLAIM(err.code < 0 && err.text[0] != '\0');
    }
    jinja_store_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    struct str source = {(const char *)data, zero ? (size_t)(zero - data) : size};
    struct str json =
        zero ? (struct str){(const char *)zero + 1, size - source.len - 1} : STR("{}");
    struct jinja_template *t = NULL;
    struct llmos_error err = {0};
    bool may_spell = memmem(source.at, source.len, SECRET, 3) ||
                     memmem(source.at, source.len, "000", 3) ||
                     memmem(source.at, source.len, "\\", 1);

    if (size == 0)
        return 0;
    if (jinja_create(&t, source, &err) < 0) {
        CLAIM(err.code < 0 && err.text[0] != '\0');
        return 0;
    }
    render(t, json, may_spell);
    jinja_destroy(t);
    return 0;
}
