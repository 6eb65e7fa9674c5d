/* SPDX-License-Identifier: Apache-2.0 */
/* matcher_test.c - claims about matcher.h and the notation of grammar.h: which texts a grammar lets
 * through, and which tokens. */
#include "infer/matcher.h"

#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

/* One token for each byte, some longer ones, and one that ends. */
static const struct str words[] = {
    {"true", 4}, {"false", 5},    {"\",\"", 3},    {"\":", 2},      {"ab", 2}, {"abc", 3},
    {"\xc3", 1}, {"\xa9x", 2},    {"  ", 2},       {" a", 2},       {"ab", 2}, {"{\"", 2},
    {"\"}", 2},  {"\xf0\x9f", 2}, {"\x98\x80", 2}, {"aaaaaaaa", 8}, {"", 0},
};
#define WORDS (sizeof(words) / sizeof(words[0]))
#define END   (256 + WORDS)
#define COUNT (END + 1)

static char byte_text[256];
static struct str pieces[COUNT];
static struct tokentrie *trie;

static const struct tokentrie *the_trie(void)
{
    bool ends[COUNT] = {false};

    if (trie)
        return trie;
    for (int i = 0; i < 256; i++) {
        byte_text[i] = (char)i;
        pieces[i] = (struct str){&byte_text[i], 1};
    }
    memcpy(pieces + 256, words, sizeof(words));
    pieces[END] = STR("</s>");
    ends[END] = true;
    CHECK_INT(tokentrie_of(&trie, pieces, ends, COUNT, NULL), 0);
    return trie;
}

static struct matcher *matcher_of(const char *grammar)
{
    struct llmos_error err = {0};
    struct grammar *g = NULL;
    struct matcher *m = NULL;

    if (grammar_compile(&g, str_of(grammar), &err) < 0 ||
        matcher_create(&m, g, the_trie(), &err) < 0)
        TEST_FAIL("%s: %s", grammar, err.text);
    return m;
}

static bool accepts_bytes(struct matcher *m, struct str text)
{
    matcher_reset(m, false);
    for (size_t i = 0; i < text.len; i++)
        if (!matcher_accept_byte(m, (uint8_t)text.at[i]))
            return false;
    return matcher_may_end(m);
}

static bool accepts(const char *grammar, const char *text)
{
    struct matcher *m = matcher_of(grammar);
    bool yes = accepts_bytes(m, str_of(text));

    matcher_destroy(m);
    return yes;
}

static void refused(const char *grammar, const char *why)
{
    struct llmos_error err = {0};
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    int rc = grammar_compile(&g, str_of(grammar), &err);

    if (rc == 0)
        rc = matcher_create(&m, g, the_trie(), &err);
    matcher_destroy(m);
    if (rc == 0)
        TEST_FAIL("accepted: %.200s", grammar);
    CHECK_CONTAINS(err.text, why);
}

TEST(literals_alternatives_and_groups_are_what_they_say)
{
    CHECK(accepts("root ::= \"yes\" | \"no\"", "yes"));
    CHECK(accepts("root ::= \"yes\" | \"no\"", "no"));
    CHECK(!accepts("root ::= \"yes\" | \"no\"", "ye"));
    CHECK(!accepts("root ::= \"yes\" | \"no\"", "yesno"));
    CHECK(accepts("root ::= (\"a\" | \"b\") \"c\" x\nx ::= \"d\"", "bcd"));
    CHECK(!accepts("root ::= (\"a\" | \"b\") \"c\" x\nx ::= \"d\"", "bc"));
    CHECK(accepts("root ::= \"a\" ( | \"b\")", "a"));
    CHECK(accepts("root ::=", ""));
    CHECK(!accepts("root ::=", "a"));
}

TEST(repetitions_count)
{
    CHECK(accepts("root ::= \"a\"*", ""));
    CHECK(accepts("root ::= \"a\"*", "aaaa"));
    CHECK(!accepts("root ::= \"a\"+", ""));
    CHECK(accepts("root ::= \"a\"+", "aaa"));
    CHECK(accepts("root ::= \"a\"? \"b\"", "b"));
    CHECK(!accepts("root ::= \"a\"? \"b\"", "aab"));
    CHECK(accepts("root ::= [ab]{3}", "aba"));
    CHECK(!accepts("root ::= [ab]{3}", "ab"));
    CHECK(!accepts("root ::= [ab]{3}", "abab"));
    CHECK(accepts("root ::= (\"ab\"){2,}", "abababab"));
    CHECK(!accepts("root ::= (\"ab\"){2,}", "ab"));
    CHECK(accepts("root ::= (\"ab\" | \"c\"){1,3} \"d\"", "cabcd"));
    CHECK(!accepts("root ::= (\"ab\" | \"c\"){1,3} \"d\"", "ccccd"));
    CHECK(accepts("root ::= [a]{,2}", "aa"));
    CHECK(!accepts("root ::= [a]{,2}", "aaa"));
    CHECK(accepts("root ::= [a]{0} \"b\"", "b"));
    CHECK(accepts("root ::= (\"a\"?)* \"b\"", "aaab"));
    CHECK(accepts("root ::= (\"\"){600} (\"a\"*){9}", "aaa"));
}

TEST(classes_are_of_characters)
{
    CHECK(accepts("root ::= [a-cx]+", "abcx"));
    CHECK(!accepts("root ::= [a-cx]+", "d"));
    CHECK(accepts("root ::= [^\"\\\\\\x00-\\x1f]+", "h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x98\x80"));
    CHECK(!accepts("root ::= [^\"\\\\]+", "a\"b"));
    CHECK(accepts("root ::= [-a]+", "-a-"));
    CHECK(accepts("root ::= [a-]+", "-a-"));
    CHECK(accepts("root ::= [\\]\\[]+", "[]"));
    CHECK(accepts("root ::= .", "\xe2\x82\xac"));
    CHECK(!accepts("root ::= .", "ab"));
    CHECK(!accepts("root ::= .", "\xff"));
    CHECK(!accepts("root ::= .+", "\xed\xa0\x80"));     /* half of a character in UTF-16 */
    CHECK(!accepts("root ::= .+", "\xf4\x90\x80\x80")); /* behind the last one */
    CHECK(!accepts("root ::= .+", "\xc0\x80"));         /* overlong */
    CHECK(accepts("root ::= [\\u00e0-\\u00ef]", "\xc3\xa9"));
    CHECK(accepts("root ::= [\\U0001F600-\\U0001F64F]", "\xf0\x9f\x98\x80"));
    CHECK(!accepts("root ::= [\\U0001F600-\\U0001F64F]", "\xf0\x9f\x99\x90"));
    CHECK(accepts("root ::= \"\\x41\\t\\n\\r\\\\\\\"\"", "A\t\n\r\\\""));
    CHECK(accepts("root ::= \"\xe2\x82\xac\"", "\xe2\x82\xac"));
}

/* Every class against the obvious test, for every character near an edge of UTF-8. */
TEST(a_class_holds_exactly_its_characters)
{
    static const uint32_t edges[] = {0,       1,       0x7f,    0x80,    0xff,     0x7ff,
                                     0x800,   0xfff,   0x1000,  0xd7ff,  0xe000,   0xffff,
                                     0x10000, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10ffff};
    const size_t n = sizeof(edges) / sizeof(edges[0]);

    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++) {
            char text[64];
            struct matcher *m;

            snprintf(text, sizeof(text), "root ::= [\\U%08x-\\U%08x]", edges[a], edges[b]);
            m = matcher_of(text);
            for (size_t i = 0; i < 3 * n; i++) {
                uint32_t c = edges[i / 3] + (uint32_t)(i % 3) - 1;
                unsigned char u[4];
                size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

                if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
                    continue;
                for (size_t k = len; k-- > 0; c >>= 6)
                    u[k] = (unsigned char)(k ? 0x80 | (c & 0x3f)
                                             : (len == 1 ? c : c | (0xf00u >> len & 0xff)));
                c = edges[i / 3] + (uint32_t)(i % 3) - 1;
                CHECK_INT(accepts_bytes(m, (struct str){(char *)u, len}),
                          c >= edges[a] && c <= edges[b]);
            }
            matcher_destroy(m);
        }
}

TEST(rules_may_need_themselves)
{
    const char *parens = "root ::= \"(\" root \")\" root | \"\"";
    const char *list = "root ::= \"a\" (\",\" root)?";
    const char *palindrome = "root ::= \"a\" root \"a\" | \"b\" root \"b\" | [ab]?";

    CHECK(accepts(parens, ""));
    CHECK(accepts(parens, "(()())()"));
    CHECK(!accepts(parens, "(()"));
    CHECK(!accepts(parens, "())"));
    CHECK(accepts(list, "a,a,a"));
    CHECK(!accepts(list, "a,"));
    CHECK(accepts(palindrome, "abbabba"));
    CHECK(accepts(palindrome, "abba"));
    CHECK(!accepts(palindrome, "abbb"));
}

TEST(comments_and_lines_are_where_they_may_be)
{
    CHECK(accepts("# c\nroot ::= # d\n  \"a\" # e\n  | \"b\"\n\n# f\nx ::= \"c\"", "b"));
    CHECK(accepts("root ::= (\n \"a\"\n # in here\n \"b\"\n)\r\n", "ab"));
    CHECK(accepts("\n\nroot ::= x-1_y\r\nx-1_y ::= \"#\"", "#"));
}

TEST(what_is_no_grammar_is_refused_with_its_line)
{
    refused("", "no rule 'root'");
    refused("x ::= \"a\"", "no rule 'root'");
    refused("root ::= \"a\"\nx \"b\"", "line 2: '::='");
    refused("root ::= y", "rule 'y' is not defined");
    refused("root ::= \"a\"\nroot ::= \"b\"", "defined twice");
    refused("root ::= \"a", "no closing '\"'");
    refused("root ::= [a", "no closing ']'");
    refused("root ::= (\"a\"", "no closing ')'");
    refused("root ::= \"a\")", "belongs to no rule");
    refused("root ::= *", "behind nothing");
    refused("root ::= \"a\"{", "wants a number");
    refused("root ::= \"a\"{2", "no closing '}'");
    refused("root ::= \"a\"{3,2}", "less than its least");
    refused("root ::= \"a\"**", "repetition of a repetition");
    refused("root ::= \"\\q\"", "escape that is not known");
    refused("root ::= \"\\x4\"", "hexadecimal");
    refused("root ::= \"\\ud800\"", "names no character");
    refused("root ::= \"\\U00110000\"", "names no character");
    refused("root ::= []", "no character is in");
    refused("root ::= [\\U00000000-\\U0010FFFF] [^\\U00000000-\\U0010FFFF]", "no character is in");
    refused("root ::= [z-a]", "ends before it begins");
    refused("root ::= <think>", "tokens by name");
    refused("root ::= \"\xff\"", "not UTF-8");
    refused("root ::= \"a\" %", "belongs to no rule");
}

TEST(rules_that_lead_nowhere_are_refused)
{
    refused("root ::= root \"a\" | \"b\"", "'root' may begin with itself");
    refused("root ::= x\nx ::= \"a\"? y\ny ::= x \"b\" | \"c\"", "may begin with itself");
    refused("root ::= (root)", "itself");
    refused("root ::= \"a\" root", "'root' can never end");
    refused("root ::= \"b\" | x\nx ::= \"a\" x", "'x' can never end");
    CHECK(accepts("root ::= \"a\"\nunused ::= unused", "a"));
}

TEST(bombs_are_refused)
{
    char text[100000];
    size_t n;

    refused("root ::= \"a\"{0,1000000000}", "more than 65536 times");
    refused("root ::= \"a\"{99999999999999999999999}", "more than 65536 times");
    refused("root ::= [^a]{65536} [^b]{65536} [^c]{65536}", "too large");
    refused("root ::= ([^a]? [^b]?){60000}", "more than 4096 ways");
    n = (size_t)snprintf(text, sizeof(text), "root ::= ");
    memset(text + n, '(', 90000);
    text[n + 90000] = '\0';
    refused(text, "groups in groups");
    memset(text + n, '*', 90000);
    refused(text, "behind nothing");
}

/* Each level doubles the number of readings. */
TEST(ambiguity_costs_no_power)
{
    struct matcher *m =
        matcher_of("root ::= \"a\" root \"b\" | \"a\" root [bc] | \"a\" root* | \"a\"");

    matcher_reset(m, false);
    for (int i = 0; i < 400; i++)
        CHECK(matcher_accept_byte(m, 'a'));
    for (int i = 0; i < 200; i++)
        CHECK(matcher_accept_byte(m, 'b'));
    CHECK(matcher_may_end(m));
    CHECK_INT(matcher_failure(m), 0);
    matcher_destroy(m);
}

TEST(nesting_has_an_end_that_is_not_an_error)
{
    struct matcher *m = matcher_of("root ::= \"[\" root \"]\" | \"x\"");
    int depth = 0;

    matcher_reset(m, false);
    while (matcher_accept_byte(m, '['))
        depth++;
    CHECK(depth > 65000 && depth <= MATCHER_DEPTH_MAX);
    CHECK_INT(matcher_failure(m), 0);
    CHECK(matcher_accept_byte(m, 'x'));
    while (depth-- > 0)
        CHECK(matcher_accept_byte(m, ']'));
    CHECK(matcher_must_end(m));
    matcher_destroy(m);
}

/* A walk through a vocabulary, with thousands of readings at each byte, comes to an end. */
TEST(a_mask_has_a_limit_of_work)
{
    static char texts[1 << 16][3];
    static struct str all[1 << 16];
    static bool ends[1 << 16];
    struct tokentrie *big = NULL;
    struct grammar *g = NULL;
    struct matcher *m = NULL;

    for (size_t i = 0; i < 1 << 16; i++) {
        texts[i][0] = (char)('a' + i % 16);
        texts[i][1] = (char)('a' + i / 16 % 16);
        texts[i][2] = (char)(i / 256);
        all[i] = (struct str){texts[i], 3};
    }
    CHECK_INT(tokentrie_of(&big, all, ends, 1 << 16, NULL), 0);
    CHECK_INT(grammar_compile(&g, STR("root ::= [a-z]{0,2000} [a-y]{0,2000}"), NULL), 0);
    CHECK_INT(matcher_create(&m, g, big, NULL), 0);
    CHECK(matcher_mask(m));
    for (int i = 0; i < 400; i++)
        CHECK(matcher_accept_byte(m, 'a'));
    CHECK(!matcher_mask(m));
    CHECK_INT(matcher_failure(m), LLMOS_ELIMIT);
    matcher_destroy(m);
    tokentrie_destroy(big);
}

/* Rules that end with themselves are loops: nothing grows. */
TEST(a_tail_call_is_free)
{
    struct matcher *m = matcher_of("root ::= \"a\" root | \"b\"");

    matcher_reset(m, false);
    for (int i = 0; i < 300000; i++)
        CHECK(matcher_accept_byte(m, 'a'));
    CHECK(matcher_accept_byte(m, 'b'));
    CHECK(matcher_must_end(m));
    matcher_destroy(m);
}

/* --- tokens --- */

static bool bit(const uint64_t *mask, size_t token)
{
    return mask[token / 64] >> (token % 64) & 1;
}

/* The mask says of every token what its bytes say one by one. */
static void check_mask(struct matcher *m)
{
    const uint64_t *mask = matcher_mask(m);

    CHECK(mask);
    for (uint32_t t = 0; t < COUNT; t++) {
        bool one_by_one = pieces[t].len > 0;

        matcher_begin(m);
        for (size_t i = 0; i < pieces[t].len && one_by_one && t != END; i++)
            one_by_one = matcher_accept_byte(m, (uint8_t)pieces[t].at[i]);
        matcher_begin(m);
        if (t == END)
            one_by_one = matcher_may_end(m);
        CHECK_INT(bit(mask, t), one_by_one);
        CHECK_INT(matcher_allows(m, t), one_by_one);
    }
}

static const char json[] =
    "root ::= value\n"
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (pair (\",\" ws pair)*)? \"}\"\n"
    "pair ::= string \":\" ws value\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"\\\\bfnrt])* \"\\\"\"\n"
    "number ::= \"-\"? [0-9]+ (\".\" [0-9]+)?\n"
    "ws ::= [ \\n]*\n";

/* Random tokens that are allowed, with or without memory between them: the same tokens. */
static uint64_t random_text(const char *grammar, uint64_t seed, bool forgets)
{
    struct matcher *m = matcher_of(grammar);
    uint64_t hash = 5;
    struct rng rng;

    rng_seed(&rng, seed);
    matcher_reset(m, false);
    for (int i = 0; i < 60 && !matcher_must_end(m); i++) {
        uint32_t token = (uint32_t)rng_below(&rng, COUNT), tries = 0;

        if (forgets)
            matcher_forget(m);
        check_mask(m);
        while (!bit(matcher_mask(m), token) && tries++ < COUNT)
            token = (token + 1) % COUNT;
        CHECK(tries < COUNT);
        CHECK(matcher_accept(m, token));
        matcher_commit(m);
        hash = hash * 31 + token;
    }
    matcher_destroy(m);
    return hash;
}

TEST(the_mask_is_what_the_bytes_say)
{
    static const char *const grammars[] = {
        json,
        "root ::= \"true\" | \"trust\" | \"\\\"a\" .* \"\\\"\"",
        "root ::= \"ab\"* \"abc\" | [^a]+ \"a\"",
        "root ::= (\"(\" root \")\")* [a-z\\u00e9\\U0001F600]{0,5}",
    };

    for (size_t g = 0; g < sizeof(grammars) / sizeof(grammars[0]); g++)
        for (uint64_t seed = 0; seed < 6; seed++)
            CHECK(random_text(grammars[g], seed, false) == random_text(grammars[g], seed, true));
}

/* Tokens that are control tokens of the vocabulary: their pieces are empty there. */
#define CALLS (256 + 16)

static struct matcher *marked(const char *grammar)
{
    static const struct matcher_mark marks[] = {{CALLS, {"[CALLS]", 7}}, {7, {"[THINK]", 7}}};
    struct matcher *m = matcher_of(grammar);

    matcher_set_marks(m, marks, 2);
    matcher_reset(m, false);
    return m;
}

TEST(marks_are_text_where_the_grammar_has_them)
{
    struct matcher *m = marked("root ::= \"a\" \"[CALLS]\" \"b\" | \"a[1]\"");

    CHECK(!matcher_allows(m, CALLS) && !bit(matcher_mask(m), CALLS));
    CHECK(matcher_accept(m, 'a'));
    CHECK(matcher_allows(m, CALLS) && bit(matcher_mask(m), CALLS));
    CHECK(!matcher_allows(m, 7) && !bit(matcher_mask(m), 7));
    CHECK(matcher_allows(m, '[') && bit(matcher_mask(m), '['));
    CHECK(matcher_accept(m, CALLS) && matcher_allows(m, 'b') && !matcher_allows(m, CALLS));
    matcher_destroy(m);
}

TEST(marks_are_no_letters_where_nothing_else_may_come)
{
    struct matcher *m = marked("root ::= (\"[THINK]\" | \"[CALLS]\") \"x\"");

    CHECK(matcher_allows(m, CALLS) && matcher_allows(m, 7));
    CHECK(bit(matcher_mask(m), CALLS) && bit(matcher_mask(m), 7));
    CHECK(!matcher_allows(m, '[') && !bit(matcher_mask(m), '['));
    CHECK(matcher_accept(m, 7) && matcher_allows(m, 'x'));
    matcher_destroy(m);
    m = marked("root ::= \"[THINK]\" | \"[THIN\""); /* may end before */
    CHECK(matcher_allows(m, '[') && bit(matcher_mask(m), '['));
    matcher_destroy(m);
}

TEST(marks_are_none_in_strings_of_any_characters)
{
    struct matcher *m = marked("root ::= \"\\\"\" [^\"]* \"\\\"\"");

    CHECK(matcher_accept(m, '"'));
    CHECK(!matcher_allows(m, CALLS) && !bit(matcher_mask(m), CALLS));
    CHECK(matcher_allows(m, '['));
    matcher_destroy(m);
}

TEST(a_token_may_be_half_a_character)
{
    struct matcher *m = matcher_of("root ::= [\\u00e9\\U0001F600] \"x\"");

    matcher_reset(m, false);
    CHECK(matcher_allows(m, 0xc3) && matcher_allows(m, 0xf0));
    CHECK(!matcher_allows(m, 0xe2));
    CHECK(matcher_accept(m, 256 + 6)); /* c3 */
    CHECK(!matcher_allows(m, 0xaa));
    CHECK(matcher_accept(m, 256 + 7)); /* a9 and x */
    CHECK(matcher_must_end(m));
    matcher_destroy(m);
}

TEST(the_end_comes_only_where_the_text_is_complete)
{
    struct matcher *m = matcher_of("root ::= \"ab\" \"c\"?");

    matcher_reset(m, false);
    CHECK(!matcher_allows(m, END) && !bit(matcher_mask(m), END));
    CHECK(matcher_accept(m, 256 + 4));
    CHECK(matcher_allows(m, END) && bit(matcher_mask(m), END) && !matcher_must_end(m));
    CHECK(matcher_accept(m, END));
    CHECK(!matcher_allows(m, END) && !matcher_allows(m, 'c'));
    CHECK(!bit(matcher_mask(m), 'c'));
    matcher_destroy(m);
}

TEST(a_space_that_the_tokenizer_put_in_front_is_none)
{
    struct matcher *m = matcher_of("root ::= \"a\"");

    matcher_reset(m, true);
    CHECK(matcher_allows(m, 'a') && bit(matcher_mask(m), 'a'));
    CHECK(matcher_allows(m, 256 + 9) && bit(matcher_mask(m), 256 + 9)); /* " a" */
    CHECK(!matcher_allows(m, 256 + 8));                                 /* two */
    CHECK(matcher_accept(m, ' '));
    CHECK(!matcher_allows(m, 256 + 9) && !bit(matcher_mask(m), ' '));
    CHECK(matcher_accept(m, 'a'));
    CHECK(matcher_must_end(m));
    matcher_destroy(m);
}

TEST(what_was_not_committed_can_be_taken_back)
{
    struct matcher *m = matcher_of("root ::= \"abcd\"");

    matcher_reset(m, false);
    CHECK(matcher_accept(m, 'a'));
    matcher_commit(m);
    CHECK(matcher_accept(m, 'b') && matcher_accept(m, 'c'));
    matcher_begin(m);
    CHECK(!matcher_accept(m, 'c'));
    CHECK(matcher_accept(m, 'b'));
    matcher_destroy(m);
}

TEST(grammars_survive_every_failed_allocation)
{
    the_trie();
    EVERY_ALLOCATION_FAILS
    {
        struct grammar *g = NULL;
        struct matcher *m = NULL;
        int rc = grammar_compile(&g, STR(json), NULL);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM || rc == LLMOS_ELIMIT);
        if (rc < 0)
            continue;
        rc = matcher_create(&m, g, trie, NULL);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        if (rc < 0)
            continue;
        for (const char *c = "{\"a\":[1,{\"b\":[true]}]}"; *c && !matcher_failure(m); c++)
            if (!matcher_mask(m) || !matcher_accept_byte(m, (uint8_t)*c))
                CHECK_INT(matcher_failure(m), LLMOS_ENOMEM);
        matcher_forget(m);
        matcher_destroy(m);
    }
    EVERY_ALLOCATION_FAILS
    {
        struct tokentrie *t = NULL;
        bool ends[COUNT] = {false};
        int rc = tokentrie_of(&t, pieces, ends, COUNT, NULL);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        tokentrie_destroy(t);
    }
}

/* Pieces that share long beginnings, end in zeros, are the same, or are too long for the tree. */
static struct str random_piece(struct rng *rng, char *room)
{
    size_t same = rng_below(rng, 3) ? rng_below(rng, 40) : 0, n = same;

    memset(room, 'x', same);
    for (size_t more = rng_below(rng, 12); more > 0; more--)
        room[n++] = "\0a\xff "[rng_below(rng, 4)];
    return (struct str){room, n};
}

/* A walk through the tree that spells each token where it ends. */
static void check_tree(const struct tokentrie *t, bool *found)
{
    char text[TOKENTRIE_PIECE_MAX];

    for (uint32_t i = 0; i < t->node_count; i++) {
        const struct tokentrie_node *n = &t->nodes[i];

        text[n->depth - 1] = (char)n->byte;
        CHECK(n->end > i && n->end <= t->node_count);
        if (n->end < t->node_count && t->nodes[n->end].depth == n->depth)
            CHECK(t->nodes[n->end].byte > n->byte);
        CHECK(i + 1 == n->end || t->nodes[i + 1].depth == n->depth + 1);
        for (uint32_t k = n->token; k != TOKENTRIE_NONE; k = t->same[k]) {
            CHECK(!found[k] && str_eq(t->pieces[k], (struct str){text, n->depth}));
            found[k] = true;
        }
    }
}

TEST(the_tree_has_each_token_once_where_its_bytes_lead)
{
    enum { MANY = 3000 };
    static char room[MANY][64], giant[TOKENTRIE_PIECE_MAX + 1];
    static struct str many[MANY];
    static bool ends[MANY], found[MANY];
    struct tokentrie *t = NULL;
    struct rng rng;

    rng_seed(&rng, 3);
    for (size_t i = 0; i < MANY; i++)
        many[i] = random_piece(&rng, room[i]);
    many[7] = (struct str){giant, sizeof(giant)};
    many[8] = (struct str){giant, sizeof(giant) - 1};
    ends[9] = true;
    CHECK_INT(tokentrie_of(&t, many, ends, MANY, NULL), 0);
    check_tree(t, found);
    for (size_t i = 0; i < MANY; i++)
        CHECK_INT(found[i], many[i].len > 0 && i != 7 && i != 9);
    tokentrie_destroy(t);
    EVERY_ALLOCATION_FAILS
    {
        int rc = tokentrie_of(&t, many, ends, 50, NULL);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        if (rc == 0)
            tokentrie_destroy(t);
    }
}
