/* SPDX-License-Identifier: Apache-2.0 */
/* schema_say.c - random texts of what a JSON schema, a regular expression or a grammar allows, each
 * on a line as a JSON string.  For tools/check_schemas.py, which asks a validator of somebody else.
 *
 *     schema_say schema|regex|grammar COUNT SEED < FILE
 *
 * With a file of texts, a JSON array of strings, it says of each whether the grammar has it: 1 or
 * 0.
 *
 *     schema_say schema|regex|grammar TEXTS < FILE */
#include "base/file.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/matcher.h"
#include "sched/schema.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 3000 /* longer ones are given up: they are not whole */

static struct tokentrie *bytes_alone(void)
{
    static char bytes[256];
    struct str pieces[256];
    bool ends[256] = {false};
    struct tokentrie *t = NULL;

    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        pieces[i] = (struct str){&bytes[i], 1};
    }
    tokentrie_of(&t, pieces, ends, 256, NULL);
    return t;
}

/* Structure is likelier than the rest, the more the longer the text is, so that texts end. */
static uint32_t pick(struct matcher *m, struct rng *rng, size_t length)
{
    const uint64_t *mask = matcher_mask(m);
    double weights[256], sum = 0, u;

    for (uint32_t b = 0; b < 256; b++) {
        weights[b] = mask && mask[b / 64] >> (b % 64) & 1 ? 1 : 0;
        if (strchr("\"}]", (int)b) && b)
            weights[b] *= 4 + (double)length;
        sum += weights[b];
    }
    u = rng_uniform(rng) * sum;
    for (uint32_t b = 0; b < 256; b++)
        if (weights[b] > 0 && (u -= weights[b]) < 0)
            return b;
    return 256;
}

/* True if the text is whole. */
static bool say(struct matcher *m, struct rng *rng, struct buf *text)
{
    buf_clear(text);
    matcher_reset(m, false);
    while (text->len < TEXT_MAX) {
        uint32_t byte;

        if (matcher_must_end(m) || (matcher_may_end(m) && rng_below(rng, 4) == 0))
            return true;
        byte = pick(m, rng, text->len);
        if (byte == 256 || !matcher_accept(m, byte))
            return matcher_may_end(m);
        buf_putc(text, (char)byte);
    }
    return false;
}

static int make_grammar(const char *kind, struct str in, struct buf *out, struct llmos_error *err)
{
    const struct json_limits limits = JSON_LIMITS_INIT;
    json_t *schema = NULL;
    int rc;

    if (strcmp(kind, "regex") == 0)
        return schema_put_regex(out, in, err);
    if (strcmp(kind, "schema") != 0) {
        buf_put(out, in.at, in.len);
        return 0;
    }
    rc = json_parse(&schema, in, &limits, err);
    if (rc == 0)
        rc = schema_put(out, schema, err);
    json_decref(schema);
    return rc;
}

static void say_many(struct matcher *m, int count, uint64_t seed, int *said)
{
    struct buf text, line;
    struct rng rng;

    buf_init(&text, 1 << 20);
    buf_init(&line, 8 << 20);
    rng_seed(&rng, seed);
    for (int tries = 0; *said < count && tries < 20 * count; tries++) {
        if (!say(m, &rng, &text))
            continue;
        buf_clear(&line);
        json_put_string(&line, buf_str(&text));
        printf("%s\n", line.at);
        ++*said;
    }
    buf_fini(&text);
    buf_fini(&line);
}

static bool has(struct matcher *m, struct str text)
{
    matcher_reset(m, false);
    for (size_t i = 0; i < text.len; i++)
        if (!matcher_accept_byte(m, (uint8_t)text.at[i]))
            return false;
    return matcher_may_end(m);
}

static int judge(struct matcher *m, const char *path, struct llmos_error *err)
{
    const struct json_limits limits = {64 << 20, 4, 1 << 20};
    json_t *texts = NULL, *one;
    struct buf in;
    size_t i;
    int rc;

    buf_init(&in, 64 << 20);
    rc = file_read(path, &in, err);
    if (rc == 0)
        rc = json_parse(&texts, buf_str(&in), &limits, err);
    json_array_foreach(texts, i, one)
        printf("%d\n", has(m, (struct str){json_string_value(one), json_string_length(one)}));
    json_decref(texts);
    buf_fini(&in);
    return rc;
}

static int make_matcher(const char *kind, const struct tokentrie *trie, bool is_shown,
                        struct matcher **m, struct llmos_error *err)
{
    struct grammar *g = NULL;
    struct buf in, grammar;
    int rc;

    buf_init(&in, 8 << 20);
    buf_init(&grammar, SCHEMA_GRAMMAR_MAX);
    rc = file_read("-", &in, err);
    if (rc == 0)
        rc = make_grammar(kind, buf_str(&in), &grammar, err);
    if (rc == 0 && is_shown)
        fwrite(grammar.at, 1, grammar.len, stdout);
    if (rc == 0)
        rc = grammar_compile(&g, buf_str(&grammar), err);
    if (rc == 0)
        rc = matcher_create(m, g, trie, err);
    buf_fini(&in);
    buf_fini(&grammar);
    return rc;
}

int main(int argc, char **argv)
{
    struct llmos_error err = {0};
    struct tokentrie *trie = bytes_alone();
    struct matcher *m = NULL;
    int rc, count = argc == 4 ? atoi(argv[2]) : 0, said = 0;

    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: schema_say schema|regex|grammar COUNT SEED < FILE\n"
                        "       schema_say schema|regex|grammar TEXTS < FILE\n");
        return 2;
    }
    rc = make_matcher(argv[1], trie, argc == 4 && count == 0, &m, &err);
    if (rc == 0 && argc == 3)
        rc = judge(m, argv[2], &err);
    else if (rc == 0)
        say_many(m, count, strtoull(argv[3], NULL, 10), &said);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.text);
    matcher_destroy(m);
    tokentrie_destroy(trie);
    return rc < 0 ? 1 : said == count ? 0 : 3;
}
