/* SPDX-License-Identifier: Apache-2.0 */
/* schema_fuzz.c - any bytes as a JSON schema, and as a regular expression: refused with a sentence,
 * or a grammar that is one, or is refused for its size or for a rule that leads nowhere. */
#include "base/mem.h"
#include "infer/grammar.h"
#include "sched/schema.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_grammar(int rc, const struct buf *text, const struct llmos_error *why)
{
    struct llmos_error err = {0};
    struct grammar *g = NULL;

    if (rc < 0) {
        if (why->code != rc || !why->text[0])
            abort();
        return;
    }
    rc = grammar_compile(&g, buf_str(text), &err);
    /* What we write is GBNF: not a line of it is refused. */
    if (rc == LLMOS_EFORMAT && strstr(err.text, "grammar, line"))
        abort();
    grammar_destroy(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_limits limits = {1 << 16, 32, 4096};
    struct str in = {(const char *)data, size};
    struct llmos_error err = {0};
    json_t *schema = NULL;
    struct buf out;
    int rc;

    buf_init(&out, SCHEMA_GRAMMAR_MAX);
    if (json_parse(&schema, in, &limits, NULL) == 0) {
        rc = schema_put(&out, schema, &err);
        check_grammar(rc, &out, &err);
        json_decref(schema);
    }
    buf_clear(&out);
    rc = schema_put_regex(&out, in, &err);
    check_grammar(rc, &out, &err);
    buf_clear(&out);
    rc = schema_put_choice(&out, (struct str[]){in, STR("b")}, 2, &err);
    check_grammar(rc, &out, &err);
    buf_fini(&out);
    return 0;
}
