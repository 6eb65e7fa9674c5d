/* SPDX-License-Identifier: Apache-2.0 */
/* mask_bench.c - what a grammar costs a token: the mask of every step of a JSON text, with a
 * vocabulary of made-up words, for a matcher that is new, for one that knows the schema, and the
 * one question that a greedy choice asks.
 *
 *     build/bench/mask_bench [TOKENS] */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/matcher.h"
#include "sched/schema.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS_MAX 4096

static const char schema_text[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
    "\"integer\","
    "\"minimum\":0,\"maximum\":150},\"email\":{\"type\":\"string\",\"maxLength\":40},\"tags\":{"
    "\"type\":"
    "\"array\",\"items\":{\"type\":\"string\"}},\"home\":{\"type\":\"object\",\"properties\":{"
    "\"street\":"
    "{\"type\":\"string\"},\"city\":{\"type\":\"string\"}},\"required\":[\"street\",\"city\"]}},"
    "\"required\":[\"name\",\"age\",\"email\",\"tags\",\"home\"]}";

static const char text[] =
    "{\"name\": \"Ada Lovelace of somewhere else\", \"age\": 36, \"email\": \"ada@example.org\", "
    "\"tags\": "
    "[\"first programmer\", \"countess\", \"a third thing that is long\"], \"home\": {\"street\": "
    "\"Twelve long words make a street that nobody has ever seen\", \"city\": \"London\"}}";

/* Words of letters with likely beginnings, a third behind a blank, and what JSON puts together. */
static struct str *make_pieces(uint32_t count)
{
    static const char *const marks[] = {"\",",   "\"}",  "\":", "\": ", "\": \"", "{\"",   "\"]",
                                        "\",\"", "\"},", "[\"", "],",   "}}",     "\", \""};
    struct str *pieces = mem_zalloc(count, sizeof(*pieces));
    char *room = mem_zalloc(count, 16);
    struct rng rng;

    rng_seed(&rng, 7);
    for (uint32_t i = 0; pieces && room && i < count; i++) {
        char *at = room + (size_t)i * 16;
        size_t n = 0, length = 2 + rng_below(&rng, 4) + rng_below(&rng, 5);

        if (i < 256)
            at[n++] = (char)i;
        else if (i % 40 == 0)
            n = (size_t)snprintf(at, 16, "%s", marks[rng_below(&rng, 13)]);
        else if (i % 3 == 0)
            at[n++] = ' ';
        while (i >= 256 && i % 40 && n < length)
            at[n++] = (char)('a' + rng_below(&rng, 26) * rng_below(&rng, 26) / 26);
        if (i >= 256 && i % 11 == 0) /* other scripts */
            n = (size_t)snprintf(at, 16, "%c%c%c", 0xE4 + (int)rng_below(&rng, 5),
                                 0x80 + (int)rng_below(&rng, 64), 0x80 + (int)rng_below(&rng, 64));
        if (i >= 256 && i % 57 == 0)
            at[n++] = "\",.:}"[rng_below(&rng, 5)];
        pieces[i] = (struct str){at, n};
    }
    return pieces;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The masks, or the questions, of one text; microseconds. */
static void run(struct matcher *m, const char *what, bool asks_once)
{
    static double us[STEPS_MAX];
    size_t n = 0;
    double sum = 0;

    matcher_reset(m, false);
    for (const char *c = text; *c && n < STEPS_MAX; c++) {
        uint64_t start = clock_ns();

        if (asks_once ? !matcher_allows(m, (unsigned char)*c) : !matcher_mask(m))
            printf("refused at %zu\n", n);
        us[n] = (double)(clock_ns() - start) * 1e-3;
        sum += us[n++];
        if (!matcher_accept(m, (unsigned char)*c))
            printf("refused at %zu\n", n);
    }
    qsort(us, n, sizeof(*us), by_time);
    printf("%-28s %4zu steps: mean %8.1f us, median %8.1f, 90%% %8.1f, most %8.1f\n", what, n,
           sum / (double)n, us[n / 2], us[n * 9 / 10], us[n - 1]);
}

int main(int argc, char **argv)
{
    uint32_t count = argc > 1 ? (uint32_t)atoi(argv[1]) : 151936;
    struct buf grammar = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    json_t *schema = json_loads(schema_text, 0, NULL);
    struct str *pieces = make_pieces(count);
    bool *ends = mem_zalloc(count, sizeof(*ends));
    struct tokentrie *trie = NULL;
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    uint64_t start = clock_ns();

    if (count < 512 || tokentrie_of(&trie, pieces, ends, count, NULL) < 0)
        return 1;
    printf("tree of %u tokens: %u nodes, %.1f ms\n", count, trie->node_count,
           (double)(clock_ns() - start) * 1e-6);
    start = clock_ns();
    if (schema_put(&grammar, schema, NULL) < 0 ||
        grammar_compile(&g, buf_str(&grammar), NULL) < 0 || matcher_create(&m, g, trie, NULL) < 0)
        return 1;
    printf("schema to matcher: %.2f ms\n", (double)(clock_ns() - start) * 1e-6);
    run(m, "masks of a new matcher", false);
    run(m, "masks of one that knows it", false);
    run(m, "one token each", true);
    printf("%zu KiB\n", matcher_bytes(m) >> 10);
    matcher_destroy(m);
    tokentrie_destroy(trie);
    mem_free((char *)(uintptr_t)pieces[0].at);
    mem_free(pieces);
    mem_free(ends);
    buf_fini(&grammar);
    json_decref(schema);
    return 0;
}
