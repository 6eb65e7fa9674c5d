/* SPDX-License-Identifier: Apache-2.0 */
/* hftokens.c - see hftokens.h */
#include "model/hftokens.h"

#include "model/pretoken.h"
#include "model/sortindex.h"
#include "model/spmodel.h"
#include "model/vocab.h"
#include "model/wordsteps.h"

#include <inttypes.h>
#include <stdio.h>

#define SPACE_MARK "\xe2\x96\x81" /* U+2581, a space to SentencePiece */

enum { KIND_NORMAL = 1, KIND_UNKNOWN, KIND_CONTROL, KIND_USER, KIND_UNUSED, KIND_BYTE };

struct reading {
    struct hftokens *t;
    const struct hffolder *f;
    struct llmos_error *err;
};

static int no_memory(struct reading *r)
{
    return fail(r->err, LLMOS_ENOMEM, "no memory for a vocabulary of %" PRIu32 " tokens",
                r->t->count);
}

static uint8_t answer(bool yes)
{
    return yes ? HFTOKENS_YES : HFTOKENS_NO;
}

/* ---- one token ---- */

static int set_token(struct reading *r, int64_t id, struct hftoken token, bool may_replace)
{
    struct hftoken *old;

    if (id < 0 || id >= r->t->count)
        return fail(r->err, LLMOS_EFORMAT,
                    "token '%.*s' has number %" PRId64 ", the embedding has %" PRIu32 " rows",
                    (int)(token.text.len < 60 ? token.text.len : 60), token.text.at, id,
                    r->t->count);
    old = &r->t->tokens[id];
    if (old->is_set && !may_replace)
        return fail(r->err, LLMOS_EFORMAT, "tokens '%.*s' and '%.*s' have the same number %" PRId64,
                    (int)(old->text.len < 60 ? old->text.len : 60), old->text.at,
                    (int)(token.text.len < 60 ? token.text.len : 60), token.text.at, id);
    token.is_set = true;
    *old = token;
    return 0;
}

static bool is_byte(struct str s)
{
    static const char hex[] = "0123456789abcdefABCDEF";

    return s.len == 6 && memcmp(s.at, "<0x", 3) == 0 && s.at[5] == '>' && strchr(hex, s.at[3]) &&
           strchr(hex, s.at[4]) && s.at[3] && s.at[4];
}

static bool has_ends(struct str s, const char *first, const char *last)
{
    size_t n = strlen(first), m = strlen(last);

    return s.len > n + m && memcmp(s.at, first, n) == 0 && memcmp(s.at + s.len - m, last, m) == 0;
}

/* Files call some marks ordinary although nobody should be able to type them. */
static bool looks_special(struct str s)
{
    return str_is(s, "<pad>") || str_is(s, "<mask>") || has_ends(s, "<|", "|>") ||
           has_ends(s, "<unused", ">") || has_ends(s, "<\xef\xbd\x9c", "\xef\xbd\x9c>");
}

/* text with every U+2581 as a space. */
static int plain_spaces(struct reading *r, struct str *text)
{
    char *copy;
    size_t n = 0;

    if (!memmem(text->at, text->len, SPACE_MARK, 3))
        return 0;
    copy = arena_alloc(&r->t->arena, text->len);
    if (!copy)
        return no_memory(r);
    for (size_t i = 0; i < text->len;) {
        bool is_mark = text->len - i >= 3 && memcmp(text->at + i, SPACE_MARK, 3) == 0;

        copy[n++] = is_mark ? ' ' : text->at[i];
        i += is_mark ? 3 : 1;
    }
    *text = (struct str){copy, n};
    return 0;
}

/* ---- added tokens ---- */

static uint8_t habits_of(struct jdoc_ref entry)
{
    static const struct {
        const char *name;
        enum token_habit habit;
    } names[] = {{"lstrip", TOKEN_LSTRIP},
                 {"rstrip", TOKEN_RSTRIP},
                 {"single_word", TOKEN_SINGLE},
                 {"normalized", TOKEN_NORMALIZED}};
    unsigned habits = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        habits |= jdoc_true(jdoc_get(entry, names[i].name)) ? names[i].habit : 0;
    return (uint8_t)habits;
}

static int add_token(struct reading *r, int64_t id, struct jdoc_ref entry)
{
    struct str text = jdoc_text(jdoc_get(entry, "content"));
    bool is_special = jdoc_true(jdoc_get(entry, "special"));
    struct hftoken token = {
        .text = text, .kind = KIND_USER, .score = -1000, .habits = habits_of(entry)};
    int rc = 0;

    if (!text.at)
        return fail(r->err, LLMOS_EFORMAT, "added token %" PRId64 " has no content", id);
    if (id >= 0 && id < r->t->count && r->t->tokens[id].kind == KIND_UNKNOWN &&
        str_eq(r->t->tokens[id].text, text))
        return 0;
    if (is_special || looks_special(text))
        token.kind = KIND_CONTROL;
    else
        rc = plain_spaces(r, &token.text);
    return rc < 0 ? rc : set_token(r, id, token, true);
}

/* tokenizer.json: a list with numbers. */
static int add_listed(struct reading *r, struct jdoc_ref list)
{
    int rc = 0;

    for (struct jdoc_ref v = jdoc_first(list, NULL); jdoc_at(v) && rc == 0;
         v = jdoc_next(list, v, NULL)) {
        int64_t id;

        if (!jdoc_integer(jdoc_get(v, "id"), &id))
            return fail(r->err, LLMOS_EFORMAT, "an added token of 'tokenizer.json' has no number");
        rc = add_token(r, id, v);
    }
    return rc;
}

/* tokenizer_config.json: an object, numbers are its keys. */
static int add_decoded(struct reading *r)
{
    struct jdoc_ref all = jdoc_get(jdoc_root(&r->f->tokenizer_config), "added_tokens_decoder");
    struct str key;
    int rc = 0;

    for (struct jdoc_ref v = jdoc_first(all, &key); jdoc_at(v) && rc == 0;
         v = jdoc_next(all, v, &key)) {
        int64_t id = 0;

        for (size_t i = 0; i < key.len && id >= 0; i++)
            id = i < 9 && key.at[i] >= '0' && key.at[i] <= '9' ? id * 10 + (key.at[i] - '0') : -1;
        if (key.len == 0 || id < 0)
            return fail(r->err, LLMOS_EFORMAT,
                        "'added_tokens_decoder' in 'tokenizer_config.json' has a key that is no "
                        "number");
        rc = add_token(r, id, v);
    }
    return rc;
}

/* ---- finding by text ---- */

static bool text_before(struct str a, struct str b)
{
    int c = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);

    return c != 0 ? c < 0 : a.len < b.len;
}

static bool token_before(const void *table, uint32_t a, uint32_t b)
{
    const struct hftoken *t = table;

    if (text_before(t[a].text, t[b].text))
        return true;
    return !text_before(t[b].text, t[a].text) && a < b;
}

static int sort_tokens(struct reading *r)
{
    struct hftokens *t = r->t;

    t->sorted = arena_array(&t->arena, uint32_t, t->count);
    if (!t->sorted)
        return no_memory(r);
    for (uint32_t i = 0; i < t->count; i++)
        t->sorted[i] = i;
    sortindex(t->sorted, t->count, token_before, t->tokens);
    return 0;
}

/* -1: there is none. */
static int64_t find(const struct hftokens *t, struct str text)
{
    uint32_t low = 0, high = t->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (text_before(t->tokens[t->sorted[middle]].text, text))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == t->count || !str_eq(t->tokens[t->sorted[low]].text, text))
        return -1;
    return t->sorted[low];
}

/* ---- merges ---- */

/* left and right joined by a space; spaces within them as BPE over bytes writes them. */
static int join(struct reading *r, struct str left, struct str right, struct str *out)
{
    char *at = arena_alloc(&r->t->arena, 2 * (left.len + right.len) + 1);
    size_t n = 0;

    if (!at)
        return no_memory(r);
    for (unsigned side = 0; side < 2; side++) {
        struct str s = side ? right : left;

        if (side)
            at[n++] = ' ';
        for (size_t i = 0; i < s.len; i++) {
            if (s.at[i] == ' ')
                at[n++] = '\xc4';
            at[n++] = s.at[i] == ' ' ? '\xa0' : s.at[i];
        }
    }
    *out = (struct str){at, n};
    return 0;
}

static int64_t find_joined(const struct hftokens *t, struct str left, struct str right)
{
    char both[1024];

    if (left.len + right.len > sizeof(both))
        return -1;
    memcpy(both, left.at, left.len);
    memcpy(both + left.len, right.at, right.len);
    return find(t, (struct str){both, left.len + right.len});
}

static bool split(struct str line, struct str *left, struct str *right)
{
    const char *space = line.len ? memchr(line.at, ' ', line.len) : NULL;

    if (!space)
        return false;
    *left = (struct str){line.at, (size_t)(space - line.at)};
    *right = (struct str){space + 1, line.len - left->len - 1};
    return left->len && right->len && !memchr(right->at, ' ', right->len);
}

/* Merges of SentencePiece become scores: the earlier, the higher. */
static int take_merge(struct reading *r, struct str left, struct str right, bool as_scores)
{
    struct hftokens *t = r->t;
    int64_t made = left.len && right.len ? find_joined(t, left, right) : -1;

    if (made < 0 || find(t, left) < 0 || find(t, right) < 0)
        return fail(r->err, LLMOS_EFORMAT,
                    "merge %" PRIu32 " ('%.*s' and '%.*s') speaks of a token that is not in the "
                    "vocabulary",
                    t->merge_count, (int)(left.len < 60 ? left.len : 60), left.at,
                    (int)(right.len < 60 ? right.len : 60), right.at);
    if (as_scores) {
        struct hftoken *token = &t->tokens[made];

        if (token->score < -1e6f)
            token->score = -(float)t->merge_count;
        t->merge_count++;
        return 0;
    }
    return join(r, left, right, &t->merges[t->merge_count++]);
}

static int check_merges(struct reading *r, uint32_t count, bool as_scores)
{
    if (count > HFTOKENS_MERGES_MAX)
        return fail(r->err, LLMOS_ELIMIT, "%" PRIu32 " merges, at most %u are accepted", count,
                    HFTOKENS_MERGES_MAX);
    if (as_scores)
        return 0;
    r->t->merges = arena_array(&r->t->arena, struct str, count);
    return r->t->merges ? 0 : no_memory(r);
}

static int read_merges(struct reading *r, struct jdoc_ref list, bool as_scores)
{
    int rc = check_merges(r, jdoc_count(list), as_scores);

    for (struct jdoc_ref v = jdoc_first(list, NULL); jdoc_at(v) && rc == 0;
         v = jdoc_next(list, v, NULL)) {
        struct str left = {NULL, 0}, right = {NULL, 0};
        struct jdoc_ref first = jdoc_first(v, NULL);

        if (jdoc_is(v, JDOC_ARRAY) && jdoc_count(v) == 2) {
            left = jdoc_text(first);
            right = jdoc_text(jdoc_next(v, first, NULL));
        } else if (jdoc_is(v, JDOC_STRING) && !split(jdoc_text(v), &left, &right)) {
            left.at = NULL;
        }
        if (!left.at || !right.at)
            return fail(r->err, LLMOS_EFORMAT, "merge %" PRIu32 " is no pair of tokens",
                        r->t->merge_count);
        rc = take_merge(r, left, right, as_scores);
    }
    return rc;
}

/* ---- tokenizer.json ---- */

static int read_vocab(struct reading *r, struct jdoc_ref vocab, float score)
{
    struct str key;
    int rc = 0;

    if (!jdoc_is(vocab, JDOC_OBJECT) || jdoc_count(vocab) == 0)
        return fail(r->err, LLMOS_EFORMAT, "the vocabulary is not an object with tokens");
    for (struct jdoc_ref v = jdoc_first(vocab, &key); jdoc_at(v) && rc == 0;
         v = jdoc_next(vocab, v, &key)) {
        int64_t id;

        if (!jdoc_integer(v, &id))
            return fail(r->err, LLMOS_EFORMAT, "token '%.*s' has no number",
                        (int)(key.len < 60 ? key.len : 60), key.at);
        rc = set_token(r, id, (struct hftoken){.text = key, .kind = KIND_NORMAL, .score = score},
                       false);
    }
    return rc;
}

static int read_bpe_bytes(struct reading *r, struct jdoc_ref root)
{
    struct jdoc_ref model = jdoc_get(root, "model");
    int rc;

    r->t->model = "gpt2";
    r->t->pre = pretoken_name(jdoc_get(root, "pre_tokenizer"),
                              jdoc_true(jdoc_get(model, "ignore_merges")), r->err);
    if (!r->t->pre)
        return LLMOS_EUNSUPPORTED;
    rc = read_vocab(r, jdoc_get(model, "vocab"), 0);
    if (rc == 0)
        rc = sort_tokens(r);
    if (rc == 0)
        rc = read_merges(r, jdoc_get(model, "merges"), false);
    return rc < 0 ? rc : add_listed(r, jdoc_get(root, "added_tokens"));
}

/* Looks for a part of that type, in a sequence or alone. */
static struct jdoc_ref find_part(struct jdoc_ref whole, const char *list, const char *type)
{
    struct jdoc_ref all = jdoc_get(whole, list);

    if (str_is(jdoc_text(jdoc_get(whole, "type")), type))
        return whole;
    for (struct jdoc_ref v = jdoc_first(all, NULL); jdoc_at(v); v = jdoc_next(all, v, NULL))
        if (str_is(jdoc_text(jdoc_get(v, "type")), type))
            return v;
    return JDOC_ABSENT;
}

/* Whether a space is put in front of a text. */
static void read_prefix(struct hftokens *t, struct jdoc_ref root)
{
    struct jdoc_ref meta = find_part(jdoc_get(root, "pre_tokenizer"), "pretokenizers", "Metaspace");
    struct jdoc_ref scheme = jdoc_get(meta, "prepend_scheme");
    struct jdoc_ref add = jdoc_get(meta, "add_prefix_space");
    bool prepends =
        jdoc_at(find_part(jdoc_get(root, "normalizer"), "normalizers", "Prepend")) != NULL;

    if (jdoc_text(scheme).at)
        prepends |= !str_is(jdoc_text(scheme), "never");
    else if (jdoc_at(meta))
        prepends |= !jdoc_at(add) || jdoc_true(add);
    t->add_space_prefix = answer(prepends);
}

static void mark_bytes(struct hftokens *t, struct str unknown)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct hftoken *token = &t->tokens[i];

        if (token->is_set && unknown.at && str_eq(token->text, unknown))
            token->kind = KIND_UNKNOWN;
        else if (token->is_set && is_byte(token->text))
            token->kind = KIND_BYTE;
    }
}

static int read_bpe_pieces(struct reading *r, struct jdoc_ref root)
{
    struct jdoc_ref model = jdoc_get(root, "model");
    int rc;

    r->t->model = "llama";
    r->t->pre = "default";
    r->t->has_scores = true;
    read_prefix(r->t, root);
    rc = read_vocab(r, jdoc_get(model, "vocab"), -1e7f); /* until a merge makes it */
    if (rc == 0)
        rc = sort_tokens(r);
    if (rc == 0)
        rc = read_merges(r, jdoc_get(model, "merges"), true);
    mark_bytes(r->t, jdoc_text(jdoc_get(model, "unk_token")));
    return rc < 0 ? rc : add_listed(r, jdoc_get(root, "added_tokens"));
}

static int decode_base64(struct reading *r, struct str text, struct str *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *at = arena_alloc(&r->t->arena, text.len ? text.len : 1);
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    if (!at)
        return no_memory(r);
    for (size_t i = 0; i < text.len && text.at[i] != '='; i++) {
        const char *d = text.at[i] ? strchr(digits, text.at[i]) : NULL;

        if (!d)
            return fail(r->err, LLMOS_EFORMAT, "'precompiled_charsmap' is no base64");
        bits = (bits << 6 | (uint32_t)(d - digits)) & 0xffffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            at[n++] = (char)(bits >> have);
        }
    }
    *out = (struct str){at, n};
    return 0;
}

/* Whether several spaces are one: they are cut at, or replaced. */
static bool joins_spaces(struct jdoc_ref root)
{
    struct jdoc_ref cut =
        find_part(jdoc_get(root, "pre_tokenizer"), "pretokenizers", "WhitespaceSplit");
    struct jdoc_ref replace = find_part(jdoc_get(root, "normalizer"), "normalizers", "Replace");

    return jdoc_at(cut) || str_is(jdoc_text(jdoc_path(replace, "pattern.Regex")), " {2,}");
}

static int read_unigram(struct reading *r, struct jdoc_ref root)
{
    struct jdoc_ref model = jdoc_get(root, "model"), list = jdoc_get(model, "vocab");
    struct jdoc_ref precompiled =
        find_part(jdoc_get(root, "normalizer"), "normalizers", "Precompiled");
    struct str map = jdoc_text(jdoc_get(precompiled, "precompiled_charsmap"));
    int64_t unknown = -1, id = 0;
    int rc = map.at ? decode_base64(r, map, &r->t->charsmap) : 0;

    r->t->model = "t5";
    r->t->pre = "default";
    r->t->has_scores = true;
    read_prefix(r->t, root);
    r->t->remove_spaces = answer(joins_spaces(root));
    jdoc_integer(jdoc_get(model, "unk_id"), &unknown);
    if (rc == 0 && (!jdoc_is(list, JDOC_ARRAY) || jdoc_count(list) == 0))
        rc = fail(r->err, LLMOS_EFORMAT, "the vocabulary is not an array of pairs");
    for (struct jdoc_ref v = jdoc_first(list, NULL); jdoc_at(v) && rc == 0;
         v = jdoc_next(list, v, NULL), id++) {
        struct jdoc_ref first = jdoc_first(v, NULL);
        struct str text = jdoc_text(first);
        double score;

        if (!text.at || jdoc_count(v) != 2 || !jdoc_number(jdoc_next(v, first, NULL), &score))
            return fail(r->err, LLMOS_EFORMAT, "token %" PRId64 " is not a pair of text and score",
                        id);
        rc = set_token(r, id,
                       (struct hftoken){.text = text,
                                        .score = (float)score,
                                        .kind = id == unknown   ? KIND_UNKNOWN
                                                : is_byte(text) ? KIND_BYTE
                                                                : KIND_NORMAL},
                       false);
    }
    if (rc == 0)
        rc = add_listed(r, jdoc_get(root, "added_tokens"));
    return rc < 0 ? rc : sort_tokens(r);
}

/* As llama.cpp keeps WordPiece: what begins a word has the mark of a space, what goes on in it
 * loses its '##', and marks in brackets stay. */
static int mark_words(struct reading *r)
{
    for (uint32_t i = 0; i < r->t->count; i++) {
        struct str *s = &r->t->tokens[i].text;
        char *at;

        if (has_ends(*s, "[", "]") || str_is(*s, "[]"))
            continue;
        if (str_starts(*s, STR("##"))) {
            *s = (struct str){s->at + 2, s->len - 2};
            continue;
        }
        at = arena_alloc(&r->t->arena, s->len + 3);
        if (!at)
            return no_memory(r);
        memcpy(at, SPACE_MARK, 3);
        memcpy(at + 3, s->at, s->len);
        *s = (struct str){at, s->len + 3};
    }
    return 0;
}

/* llama.cpp asks for case only. */
static void set_steps(struct hftokens *t, unsigned steps)
{
    t->model = "bert";
    t->word_steps = steps;
    t->lowercase = answer(steps & WORDSTEP_LOWER);
    t->pre = steps & WORDSTEP_LOWER ? "bert-bge" : "default";
}

static void set_unknown(struct hftokens *t, struct str text)
{
    int64_t id = text.at ? find(t, text) : -1;

    if (id < 0)
        return;
    t->ids[HFTOKENS_UNK] = id;
    if (t->tokens[id].kind == KIND_NORMAL)
        t->tokens[id].kind = KIND_UNKNOWN;
}

/* Whole words (WordLevel) are WordPiece in which no piece goes on: what begins with a known word
 * and goes on is unknown either way. */
static int read_wordpiece(struct reading *r, struct jdoc_ref root)
{
    struct jdoc_ref model = jdoc_get(root, "model");
    struct str prefix = jdoc_text(jdoc_get(model, "continuing_subword_prefix"));
    unsigned steps = 0;
    int rc = wordsteps_read(&steps, root, r->err);

    if (rc < 0)
        return rc;
    if (prefix.at && !str_is(prefix, "##"))
        return fail(r->err, LLMOS_EUNSUPPORTED,
                    "pieces that go on in a word begin with '%.*s' in 'tokenizer.json'; this "
                    "version knows '##'",
                    STR_ARG(prefix));
    set_steps(r->t, steps);
    rc = read_vocab(r, jdoc_get(model, "vocab"), 0);
    if (rc == 0)
        rc = add_listed(r, jdoc_get(root, "added_tokens"));
    if (rc == 0)
        rc = sort_tokens(r);
    if (rc == 0)
        set_unknown(r->t, jdoc_text(jdoc_get(model, "unk_token")));
    return rc;
}

/* Marks around a text: of a template, or of the processors of BERT and RoBERTa. */
static void read_marks(struct hftokens *t, struct jdoc_ref whole)
{
    struct jdoc_ref template = find_part(whole, "processors", "TemplateProcessing");
    struct jdoc_ref single = jdoc_get(template, "single"), first = jdoc_first(single, NULL);
    bool has_first = jdoc_at(jdoc_get(first, "SpecialToken")) != NULL, has_last = false;

    for (struct jdoc_ref v = first; jdoc_at(v); v = jdoc_next(single, v, NULL))
        has_last = jdoc_at(jdoc_get(v, "SpecialToken")) != NULL;
    if (jdoc_at(find_part(whole, "processors", "RobertaProcessing")) ||
        jdoc_at(find_part(whole, "processors", "BertProcessing")))
        has_first = has_last = true;
    else if (jdoc_count(single) == 1)
        has_last = false;
    if (!jdoc_at(whole))
        return;
    t->add_bos = answer(has_first);
    t->add_eos = answer(has_last);
}

static int read_json(struct reading *r, struct str text)
{
    struct jdoc_ref root, model;
    struct str type;
    bool has_bytes;
    int rc = jsondoc_parse(&r->t->doc, &r->t->arena, text, "tokenizer.json", r->err);

    if (rc < 0)
        return rc;
    root = jdoc_root(&r->t->doc);
    model = jdoc_get(root, "model");
    type = jdoc_text(jdoc_get(model, "type"));
    has_bytes =
        jdoc_at(find_part(jdoc_get(root, "pre_tokenizer"), "pretokenizers", "ByteLevel")) != NULL;
    read_marks(r->t, jdoc_get(root, "post_processor"));
    if (str_is(type, "Unigram"))
        return read_unigram(r, root);
    if (str_is(type, "WordPiece") || str_is(type, "WordLevel"))
        return read_wordpiece(r, root);
    if (str_is(type, "BPE") || (!type.at && jdoc_at(jdoc_get(model, "merges"))))
        return has_bytes ? read_bpe_bytes(r, root) : read_bpe_pieces(r, root);
    return fail(r->err, LLMOS_EUNSUPPORTED,
                "'tokenizer.json' has a model of type '%.*s'; this version knows: BPE Unigram "
                "WordPiece",
                (int)(type.len < 40 ? type.len : 40), type.at ? type.at : "");
}

/* ---- other files ---- */

static int take_piece(void *arg, uint32_t id, struct str text, float score, uint32_t kind,
                      struct llmos_error *err)
{
    struct reading *r = arg;

    (void)err;
    return set_token(r, id, (struct hftoken){.text = text, .score = score, .kind = (uint8_t)kind},
                     false);
}

static int read_spmodel(struct reading *r, struct str bytes)
{
    struct spmodel m;
    int rc = spmodel_read(&m, bytes, take_piece, r, r->err);

    if (rc < 0)
        return rc;
    r->t->model = m.model_type == 2 ? "llama" : "t5";
    r->t->pre = "default";
    r->t->has_scores = true;
    r->t->add_space_prefix = answer(m.adds_prefix);
    if (m.model_type != 2) {
        r->t->remove_spaces = answer(m.removes_spaces);
        r->t->charsmap = m.charsmap;
    }
    rc = add_decoded(r);
    return rc < 0 ? rc : sort_tokens(r);
}

static struct str next_line(struct str *text)
{
    const char *end = text->len ? memchr(text->at, '\n', text->len) : NULL;
    struct str line = {text->at, end ? (size_t)(end - text->at) : text->len};
    size_t whole = end ? line.len + 1 : line.len;

    *text = (struct str){text->at + whole, text->len - whole};
    while (line.len && (line.at[line.len - 1] == '\r' || line.at[line.len - 1] == ' '))
        line.len--;
    return line;
}

static int read_merge_lines(struct reading *r, struct str text)
{
    uint32_t lines = 0;
    int rc;

    for (size_t i = 0; i < text.len; i++)
        lines += text.at[i] == '\n';
    rc = check_merges(r, lines + 1, false);
    while (rc == 0 && text.len) {
        struct str line = next_line(&text), left, right;

        if (line.len == 0 || str_starts(line, STR("#version")))
            continue;
        if (!split(line, &left, &right))
            return fail(r->err, LLMOS_EFORMAT, "merge %" PRIu32 " of 'merges.txt' is no pair",
                        r->t->merge_count);
        rc = take_merge(r, left, right, false);
    }
    return rc;
}

static int read_vocab_json(struct reading *r, struct str vocab, struct str merges)
{
    int rc = jsondoc_parse(&r->t->doc, &r->t->arena, vocab, "vocab.json", r->err);

    r->t->model = "gpt2";
    r->t->pre = "gpt-2";
    if (rc == 0)
        rc = read_vocab(r, jdoc_root(&r->t->doc), 0);
    if (rc == 0)
        rc = sort_tokens(r);
    if (rc == 0)
        rc = read_merge_lines(r, merges);
    return rc < 0 ? rc : add_decoded(r);
}

static int read_vocab_lines(struct reading *r, struct str text)
{
    int64_t id = 0;
    int rc = 0;

    set_steps(r->t, wordsteps_of_config(jdoc_root(&r->f->tokenizer_config)));
    while (rc == 0 && text.len) {
        struct str line = next_line(&text);
        bool is_mark = has_ends(line, "[", "]") && !str_starts(line, STR("[unused"));

        rc = set_token(r, id++,
                       (struct hftoken){.text = line, .kind = is_mark ? KIND_CONTROL : KIND_NORMAL},
                       false);
    }
    return rc < 0 ? rc : sort_tokens(r);
}

/* ---- what stands beside ---- */

/* A token's text: a string, or an object with it. */
static struct str text_of(struct jdoc_ref v)
{
    return jdoc_is(v, JDOC_OBJECT) ? jdoc_text(jdoc_get(v, "content")) : jdoc_text(v);
}

static int64_t number_of(struct jdoc_ref v)
{
    int64_t id = -1;

    return jdoc_integer(jdoc_is(v, JDOC_ARRAY) ? jdoc_first(v, NULL) : v, &id) ? id : -1;
}

static void read_ids(struct reading *r, const struct jsondoc *map)
{
    static const char *const names[] = {"bos", "eos", "unk", "sep", "pad", "cls", "mask"};
    struct hftokens *t = r->t;

    for (int i = 0; i <= HFTOKENS_MASK; i++) {
        char token[24], number[24];
        struct str text;
        int64_t id = -1;

        snprintf(token, sizeof(token), "%s_token", names[i]);
        snprintf(number, sizeof(number), "%s_token_id", names[i]);
        text = text_of(jdoc_get(jdoc_root(&r->f->tokenizer_config), token));
        if (!text.at)
            text = text_of(jdoc_get(jdoc_root(map), token));
        if (text.at)
            id = find(t, text);
        if (id < 0)
            id = number_of(jdoc_get(jdoc_root(&r->f->config), number));
        if (id < 0)
            id = number_of(jdoc_get(jdoc_root(&r->f->generation), number));
        if (id >= 0 && id < t->count)
            t->ids[i] = id;
    }
}

/* To llama.cpp the marks around a text are its beginning and its end, whatever BERT calls them. */
static void name_marks(struct hftokens *t)
{
    if (t->ids[HFTOKENS_BOS] < 0)
        t->ids[HFTOKENS_BOS] = t->ids[HFTOKENS_CLS];
    if (t->ids[HFTOKENS_EOS] < 0)
        t->ids[HFTOKENS_EOS] = t->ids[HFTOKENS_SEP];
}

/* Of several tokens that end an answer the first two besides eos find a key. */
static void read_ends(struct reading *r)
{
    struct jdoc_ref list = jdoc_get(jdoc_root(&r->f->generation), "eos_token_id");
    int at = HFTOKENS_EOT;

    if (!jdoc_is(list, JDOC_ARRAY))
        list = jdoc_get(jdoc_root(&r->f->config), "eos_token_id");
    if (!jdoc_is(list, JDOC_ARRAY))
        return;
    for (struct jdoc_ref v = jdoc_first(list, NULL); jdoc_at(v) && at < HFTOKENS_ID_COUNT;
         v = jdoc_next(list, v, NULL)) {
        int64_t id = number_of(v);

        if (id >= 0 && id < r->t->count && id != r->t->ids[HFTOKENS_EOS])
            r->t->ids[at++] = id;
    }
}

static void read_template(struct reading *r)
{
    struct jdoc_ref v = jdoc_get(jdoc_root(&r->f->tokenizer_config), "chat_template");
    struct str file = hffolder_file(r->f, "chat_template.jinja");

    r->t->chat_template = file.at ? file : jdoc_text(v);
    if (file.at || !jdoc_is(v, JDOC_ARRAY))
        return;
    for (struct jdoc_ref one = jdoc_first(v, NULL); jdoc_at(one); one = jdoc_next(v, one, NULL))
        if (str_is(jdoc_text(jdoc_get(one, "name")), "default"))
            r->t->chat_template = jdoc_text(jdoc_get(one, "template"));
}

static void read_wish(struct jdoc_ref config, const char *key, uint8_t *out)
{
    struct jdoc_ref v = jdoc_get(config, key);

    if (jdoc_is(v, JDOC_BOOL))
        *out = answer(jdoc_true(v));
}

static int read_beside(struct reading *r)
{
    struct jdoc_ref config = jdoc_root(&r->f->tokenizer_config);
    struct str map_text = hffolder_file(r->f, "special_tokens_map.json");
    struct jsondoc map = {.values = NULL};
    int rc = map_text.at
                 ? jsondoc_parse(&map, &r->t->arena, map_text, "special_tokens_map.json", r->err)
                 : 0;

    if (rc < 0)
        return rc;
    read_ids(r, &map);
    read_ends(r);
    read_template(r);
    read_wish(config, "add_bos_token", &r->t->add_bos);
    read_wish(config, "add_eos_token", &r->t->add_eos);
    if (strcmp(r->t->model, "llama") == 0)
        read_wish(config, "add_prefix_space", &r->t->add_space_prefix);
    if (r->f->arch->tokens == HFTOKENS_BERT) {
        name_marks(r->t);
        r->t->type_count = strcmp(r->t->model, "bert") == 0 ? 2 : 1;
        rc = hffolder_u32(r->f, "type_vocab_size", 0, 1024, &r->t->type_count, r->err);
    }
    return rc < 0 ? rc : 0;
}

/* ---- the whole ---- */

static int fill_gaps(struct reading *r)
{
    for (uint32_t i = 0; i < r->t->count; i++) {
        char text[24];
        int n = snprintf(text, sizeof(text), "[PAD%" PRIu32 "]", i);
        char *at = r->t->tokens[i].is_set ? text : arena_strndup(&r->t->arena, text, (size_t)n);

        if (!at)
            return no_memory(r);
        if (!r->t->tokens[i].is_set)
            r->t->tokens[i] =
                (struct hftoken){.text = {at, (size_t)n}, .kind = KIND_UNUSED, .score = -10000};
    }
    return 0;
}

static void forget(struct hftokens *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        t->tokens[i] = (struct hftoken){.text = {"", 0}};
}

static int read_files(struct reading *r)
{
    struct str json = hffolder_file(r->f, "tokenizer.json");
    struct str model = hffolder_file(r->f, "tokenizer.model");
    struct str vocab = hffolder_file(r->f, "vocab.json");
    struct str merges = hffolder_file(r->f, "merges.txt");
    struct str lines = hffolder_file(r->f, "vocab.txt");

    if (model.at && !r->f->arch->is_encoder) {
        int rc = read_spmodel(r, model);

        if (rc == 0 || !json.at) /* tokenizer.model of Llama 3 is something else */
            return rc;
        forget(r->t);
    }
    if (json.at)
        return read_json(r, json);
    if (vocab.at && merges.at)
        return read_vocab_json(r, vocab, merges);
    if (lines.at)
        return read_vocab_lines(r, lines);
    return fail(r->err, LLMOS_EFORMAT,
                "the folder has no tokenizer that this version can read: tokenizer.json, "
                "tokenizer.model, vocab.json with merges.txt, or vocab.txt");
}

static int read_all(struct reading *r)
{
    struct hftokens *t = r->t;
    int rc;

    t->tokens = arena_array(&t->arena, struct hftoken, t->count);
    if (!t->tokens)
        return no_memory(r);
    forget(t);
    for (int i = 0; i < HFTOKENS_ID_COUNT; i++)
        t->ids[i] = -1;
    rc = read_files(r);
    if (rc == 0)
        rc = sort_tokens(r); /* added tokens are among them now */
    if (rc == 0)
        rc = read_beside(r);
    if (rc == 0)
        rc = fill_gaps(r);
    return rc == 0 && strcmp(t->model, "bert") == 0 ? mark_words(r) : rc;
}

int hftokens_read(struct hftokens *t, const struct hffolder *f, uint32_t count,
                  struct llmos_error *err)
{
    struct reading r = {.t = t, .f = f, .err = err};
    size_t parsed = 0;
    int rc;

    *t = (struct hftokens){.count = count};
    for (unsigned i = 0; i < f->file_count; i++)
        if (!hffolder_is_shard(str_of(f->files[i].name)))
            parsed += f->files[i].bytes.len;
    arena_init(&t->arena, 40 * parsed + (size_t)count * 128 + (1u << 20));
    rc = read_all(&r);
    if (rc < 0)
        hftokens_fini(t);
    return rc;
}

void hftokens_fini(struct hftokens *t)
{
    arena_fini(&t->arena);
}

/* ---- writing ---- */

static void put_answer(struct ggufwrite *w, const char *key, uint8_t answer_)
{
    if (answer_ != HFTOKENS_UNSAID)
        ggufwrite_bool(w, key, answer_ == HFTOKENS_YES);
}

static void put_steps(struct ggufwrite *w, const struct hftokens *t)
{
    char names[WORDSTEPS_TEXT_MAX];

    if (strcmp(t->model, "bert") != 0)
        return;
    wordsteps_print(t->word_steps, names);
    ggufwrite_str(w, "llmos.wordpiece.steps", str_of(names));
}

static void put_habits(struct ggufwrite *w, const struct hftokens *t)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < t->count; i++)
        n += t->tokens[i].habits != 0;
    if (n == 0)
        return;
    ggufwrite_array(w, "llmos.added_tokens", GGUF_I32, 2 * n);
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->tokens[i].habits == 0)
            continue;
        ggufwrite_put_i32(w, (int32_t)i);
        ggufwrite_put_i32(w, t->tokens[i].habits);
    }
}

static void put_tokens(struct ggufwrite *w, const struct hftokens *t)
{
    ggufwrite_array(w, "tokenizer.ggml.tokens", GGUF_STRING, t->count);
    for (uint32_t i = 0; i < t->count; i++)
        ggufwrite_put_str(w, t->tokens[i].text);
    if (t->has_scores) {
        ggufwrite_array(w, "tokenizer.ggml.scores", GGUF_F32, t->count);
        for (uint32_t i = 0; i < t->count; i++)
            ggufwrite_put_f32(w, t->tokens[i].score);
    }
    ggufwrite_array(w, "tokenizer.ggml.token_type", GGUF_I32, t->count);
    for (uint32_t i = 0; i < t->count; i++)
        ggufwrite_put_i32(w, t->tokens[i].kind);
    if (t->merges) {
        ggufwrite_array(w, "tokenizer.ggml.merges", GGUF_STRING, t->merge_count);
        for (uint32_t i = 0; i < t->merge_count; i++)
            ggufwrite_put_str(w, t->merges[i]);
    }
}

void hftokens_put(struct ggufwrite *w, const struct hftokens *t)
{
    static const char *const keys[HFTOKENS_ID_COUNT] = {
        "tokenizer.ggml.bos_token_id",     "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.seperator_token_id", /* sic */
        "tokenizer.ggml.padding_token_id", "tokenizer.ggml.cls_token_id",
        "tokenizer.ggml.mask_token_id",    "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id",
    };

    ggufwrite_str(w, "tokenizer.ggml.model", str_of(t->model));
    if (t->pre)
        ggufwrite_str(w, "tokenizer.ggml.pre", str_of(t->pre));
    put_tokens(w, t);
    put_habits(w, t);
    put_steps(w, t);
    for (int i = 0; i < HFTOKENS_ID_COUNT; i++)
        if (t->ids[i] >= 0)
            ggufwrite_u32(w, keys[i], (uint32_t)t->ids[i]);
    put_answer(w, "tokenizer.ggml.add_bos_token", t->add_bos);
    put_answer(w, "tokenizer.ggml.add_eos_token", t->add_eos);
    if (strcmp(t->model, "bert") == 0) /* its end is a separator */
        put_answer(w, "tokenizer.ggml.add_sep_token", t->add_eos);
    put_answer(w, "tokenizer.ggml.add_space_prefix", t->add_space_prefix);
    put_answer(w, "tokenizer.ggml.remove_extra_whitespaces", t->remove_spaces);
    put_answer(w, "tokenizer.ggml.normalizer.lowercase", t->lowercase);
    if (t->type_count)
        ggufwrite_u32(w, "tokenizer.ggml.token_type_count", t->type_count);
    if (t->charsmap.len) {
        ggufwrite_array(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, t->charsmap.len);
        for (size_t i = 0; i < t->charsmap.len; i++)
            ggufwrite_put_u8(w, (uint8_t)t->charsmap.at[i]);
    }
    if (t->chat_template.at)
        ggufwrite_str(w, "tokenizer.chat_template", t->chat_template);
}
