/* SPDX-License-Identifier: Apache-2.0 */
/* allows.h - is a text one of a grammar's (GBNF)?  For tests of what makes grammars. */
#ifndef TESTS_ALLOWS_H
#define TESTS_ALLOWS_H

#include "infer/matcher.h"
#include "test.h"

static inline bool grammar_allows(struct str grammar, const char *text)
{
    static struct tokentrie *no_tokens;
    struct matcher *m = NULL;
    struct grammar *g = NULL;
    struct llmos_error why;
    bool fits = true;

    if (!no_tokens)
        CHECK_INT(tokentrie_of(&no_tokens, NULL, NULL, 0, NULL), 0);
    if (grammar_compile(&g, grammar, &why) < 0 || matcher_create(&m, g, no_tokens, &why) < 0)
        TEST_FAIL("%s\n%.*s", why.text, STR_ARG(grammar));
    for (const char *c = text; *c && fits; c++)
        fits = matcher_accept_byte(m, (uint8_t)*c);
    fits = fits && matcher_may_end(m);
    matcher_destroy(m);
    return fits;
}

#endif
