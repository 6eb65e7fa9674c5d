/* SPDX-License-Identifier: Apache-2.0 */
/* grammar_fuzz.c - any bytes as a grammar, and a text for it: up to the first zero byte the
 * grammar, behind it the text.  Refused with a sentence, or: what the mask says of a token is what
 * its bytes say, whatever was remembered or forgotten. */
#include "base/mem.h"
#include "infer/matcher.h"

#include <stdlib.h>

#define CLAIM(claim)  \
    do {              \
        if (!(claim)) \
            abort();  \
    } while (0)

#define COUNT 280

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every byte, some pairs and longer ones, one end. */
static struct tokentrie *make_trie(void)
{
    static char bytes[256], pairs[23][4];
    struct str pieces[COUNT];
    bool ends[COUNT] = {false};
    struct tokentrie *t = NULL;

    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        pieces[i] = (struct str){&bytes[i], 1};
    }
    for (int i = 0; i < 23; i++) {
        memcpy(pairs[i], &"ab\"x"[i % 3], 2);
        pairs[i][2] = (char)('a' + i % 5);
        pieces[256 + i] = (struct str){pairs[i], 2u + (size_t)i % 2};
    }
    pieces[COUNT - 1] = STR("");
    ends[COUNT - 1] = true;
    CLAIM(tokentrie_of(&t, pieces, ends, COUNT, NULL) == 0);
    return t;
}

static void check_mask(struct matcher *m, const struct tokentrie *t)
{
    const uint64_t *mask = matcher_mask(m);

    if (!mask) {
        CLAIM(matcher_failure(m) < 0);
        return;
    }
    for (uint32_t token = 0; token < t->token_count; token++)
        CLAIM(matcher_allows(m, token) == (mask[token / 64] >> (token % 64) & 1) ||
              matcher_failure(m));
}

static void read_text(struct matcher *m, const struct tokentrie *t, const uint8_t *text,
                      size_t size)
{
    for (size_t i = 0; i < size && !matcher_failure(m); i++) {
        bool allowed = matcher_allows(m, text[i]);

        if (i % 16 == 0)
            check_mask(m, t);
        if (i % 7 == 3)
            matcher_forget(m);
        CLAIM(matcher_allows(m, text[i]) == allowed || matcher_failure(m));
        CLAIM(matcher_accept(m, text[i]) == allowed || matcher_failure(m));
        if (!allowed)
            return;
        matcher_commit(m);
    }
    CLAIM(!matcher_must_end(m) || matcher_may_end(m));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokentrie *trie;
    size_t n = 0;
    struct llmos_error err = {0};
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    int rc;

    if (!trie)
        trie = make_trie();
    while (n < size && data[n])
        n++;
    rc = grammar_compile(&g, (struct str){(const char *)data, n}, &err);
    if (rc == 0)
        rc = matcher_create(&m, g, trie, &err);
    if (rc < 0) {
        CLAIM(err.code == rc && err.text[0]);
        return 0;
    }
    check_mask(m, trie);
    if (n < size)
        read_text(m, trie, data + n + 1, size - n - 1);
    matcher_destroy(m);
    return 0;
}
