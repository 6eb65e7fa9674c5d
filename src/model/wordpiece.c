/* SPDX-License-Identifier: Apache-2.0 */
/* wordpiece.c - "bert": words, each as the longest pieces from its left (Wu et al. 2016; Devlin et
 * al. 2019).
 *
 * GGUF writes a piece that begins a word with U+2581 in front, vocab.txt one that goes on with
 * "##"; here a word begins with a space.  Before that the text is made plain (wordsteps.h). */
#include "base/fail.h"
#include "model/tokenize.h"
#include "model/trie.h"
#include "model/unicode.h"
#include "model/wordcache.h"
#include "model/wordsteps.h"

/* Longer words are one unknown token (BERT's max_input_chars_per_word). */
#define WORD_CHARACTERS_MAX 100
#define WORD_BYTES_MAX      (1 + 4 * WORD_CHARACTERS_MAX)

struct wordpiece {
    struct trie trie;
    unsigned steps; /* enum wordstep */
};

/* ---- making ---- */

static bool begins(struct str text, const char *mark)
{
    return str_starts(text, str_of(mark));
}

static void look(struct llmos_tokenizer *t, const struct gguf_array *texts)
{
    t->is_hashed = true;
    for (uint64_t i = 0; i < texts->count && t->is_hashed; i++)
        t->is_hashed = !begins(gguf_array_str(texts, i), "\xe2\x96\x81");
}

/* " go" of "go", of which `skip` bytes are left out. */
static int begin_word(struct llmos_tokenizer *t, struct token *token, struct str text, size_t skip)
{
    size_t n = text.len - skip;
    char *copy = arena_alloc(&t->arena, n + 1);

    if (!copy)
        return -1;
    copy[0] = ' ';
    memcpy(copy + 1, text.at + skip, n);
    token->piece = (struct str){copy, n + 1};
    return 0;
}

/* "##ing" to "ing" and "go" to " go", or "ing" and U+2581 "go" to the same.  A mark alone is the
 * character U+2581, which goes on. */
static int piece(struct llmos_tokenizer *t, struct token *token, struct str text)
{
    token->piece = text;
    if (token->kind != TOKEN_NORMAL && token->kind != TOKEN_UNUSED)
        return 0;
    if (!t->is_hashed)
        return begins(text, "\xe2\x96\x81") && text.len > 3 ? begin_word(t, token, text, 3) : 0;
    if (!begins(text, "##") || text.len == 2)
        return begin_word(t, token, text, 0);
    token->piece = (struct str){text.at + 2, text.len - 2};
    return 0;
}

/* A capital letter outside of "[unused7]". */
static bool has_capital(struct str piece)
{
    if (memchr(piece.at, '[', piece.len))
        return false;
    for (size_t i = 0; i < piece.len; i++)
        if (piece.at[i] >= 'A' && piece.at[i] <= 'Z')
            return true;
    return false;
}

/* Files of others say at most whether case counts; then accents do, too. */
static int find_steps(struct wordpiece *w, bool has_capitals, const struct gguf *g,
                      struct llmos_error *err)
{
    bool lowers = !has_capitals;
    struct str names;
    int rc = gguf_get_str(g, "llmos.wordpiece.steps", &names, err);

    if (rc > 0)
        return wordsteps_parse(&w->steps, names, err);
    if (rc == 0)
        rc = gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", &lowers, err);
    w->steps = WORDSTEPS_BERT | (lowers ? WORDSTEPS_UNCASED : 0u);
    return rc < 0 ? rc : 0;
}

static int make(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    struct wordpiece *w = arena_alloc(&t->arena, sizeof(*w));
    bool has_capitals = false;
    int rc = w ? 0 : -1;

    for (uint32_t id = 0; id < t->count && rc == 0; id++) {
        const struct token *token = &t->tokens[id];

        if (token->kind != TOKEN_NORMAL && token->kind != TOKEN_UNUSED)
            continue;
        rc = trie_add(&w->trie, token->piece, (int32_t)id);
        has_capitals |= has_capital(token->piece);
    }
    if (w && rc < 0)
        trie_drop(&w->trie);
    if (rc == 0)
        rc = trie_keep(&w->trie, &t->arena);
    t->own = w;
    if (rc < 0)
        return fail(err, LLMOS_ENOMEM, "no memory for the pieces of the vocabulary");
    return find_steps(w, has_capitals, g, err);
}

/* ---- words ---- */

enum side { SIDE_WORD, SIDE_MARK };

struct run {
    const struct llmos_tokenizer *t;
    const struct wordpiece *w;
    struct token_sink *out;
    struct word *words;
    char word[WORD_BYTES_MAX]; /* a space, then what came so far */
    size_t bytes, characters;
    int32_t ids[WORD_BYTES_MAX];
    enum side side; /* of the character before, for WORDSTEP_RUNS */
    bool no_unknown;
};

/* The pieces of the word into ids; 0: it has none. */
static size_t find_pieces(struct run *r)
{
    size_t n = 0;

    for (size_t at = 0; at < r->bytes;) {
        uint32_t node = TRIE_ROOT;
        size_t end = 0;

        for (size_t i = at; i < r->bytes; i++) {
            node = trie_next(&r->w->trie, node, (unsigned char)r->word[i]);
            if (!node)
                break;
            if (r->w->trie.values[node] >= 0) {
                r->ids[n] = r->w->trie.values[node];
                end = i + 1;
            }
        }
        if (!end)
            return 0;
        n++;
        at = end;
    }
    return n;
}

static void put_ids(struct run *r, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        token_sink_put(r->out, ids[i]);
}

static void end_word(struct run *r)
{
    struct str text = {r->word, r->bytes};
    struct word *word;
    size_t n = 0;

    if (r->characters == 0)
        return;
    word = r->characters <= WORD_CHARACTERS_MAX ? wordcache_at(r->words, text) : NULL;
    if (word && word->length) {
        put_ids(r, word->ids, word->count);
    } else {
        if (r->characters <= WORD_CHARACTERS_MAX)
            n = find_pieces(r);
        if (n == 0) {
            r->no_unknown |= r->t->unknown < 0;
            r->ids[n++] = r->t->unknown;
        }
        put_ids(r, r->ids, n);
        wordcache_keep(word, text, r->ids, n);
    }
    r->characters = 0;
    r->bytes = 1;
}

static void add(struct run *r, uint32_t c)
{
    if (r->characters++ < WORD_CHARACTERS_MAX)
        r->bytes += unicode_put(c, r->word + r->bytes);
}

static void add_alone(struct run *r, uint32_t c)
{
    end_word(r);
    add(r, c);
    end_word(r);
}

/* ---- characters ---- */

/* As BERT has them; 0x2b920 for 0x2b820 is how its tokenizers are written. */
static bool is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

static bool is_ascii_mark(uint32_t c)
{
    return c > ' ' && c < 0x7f && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z');
}

static bool is_mark_of_its_own(uint32_t c)
{
    return c < 0x80 ? is_ascii_mark(c) : unicode_is_old_punctuation(c);
}

static void put_character(struct run *r, uint32_t c)
{
    if (unicode_is_space(c)) {
        end_word(r);
        return;
    }
    if (r->w->steps & WORDSTEP_RUNS) {
        enum side side = unicode_is_word(c) ? SIDE_WORD : SIDE_MARK;

        if (side != r->side)
            end_word(r);
        r->side = side;
    }
    if (r->w->steps & WORDSTEP_PUNCTUATION && is_mark_of_its_own(c))
        add_alone(r, c);
    else
        add(r, c);
}

/* Letters of one character: only U+0130 becomes two, and loses its dot where accents go. */
static size_t lower(uint32_t *c, size_t n)
{
    uint32_t form[UNICODE_FORM_MAX];

    if (n == 1)
        return unicode_in(c[0], UNICODE_LOWER, c);
    for (size_t i = 0; i < n; i++)
        c[i] = unicode_in(c[i], UNICODE_LOWER, form) == 1 ? form[0] : c[i];
    return n;
}

/* The characters that c becomes; their number. */
static size_t plain(unsigned steps, uint32_t c, uint32_t out[UNICODE_FORM_MAX])
{
    size_t n = 1, kept = 0;

    if ((steps & (WORDSTEPS_UNCASED | WORDSTEP_MARKS)) == WORDSTEPS_UNCASED)
        return unicode_fold(c, out);
    out[0] = c;
    if (steps & WORDSTEP_ACCENTS)
        n = unicode_bare(c, out);
    for (size_t i = 0; i < n; i++)
        if (!(steps & WORDSTEP_MARKS) || !unicode_is_old_combining(out[i]))
            out[kept++] = out[i];
    return steps & WORDSTEP_LOWER ? lower(out, kept) : kept;
}

static void take_character(struct run *r, uint32_t c)
{
    unsigned steps = r->w->steps;
    bool is_alone = steps & WORDSTEP_CHINESE && is_chinese(c);
    uint32_t becomes[UNICODE_FORM_MAX];
    size_t n;

    /* Line ends are spaces either way; other spaces that are control characters vanish. */
    if (c == '\t' || c == '\n' || c == '\r') {
        end_word(r);
        return;
    }
    if (steps & WORDSTEP_CLEAN && (c < ' ' || c >= 0x7f) && unicode_is_old_control(c))
        return;
    n = plain(steps, c, becomes);
    if (is_alone)
        end_word(r);
    for (size_t i = 0; i < n; i++)
        put_character(r, becomes[i]);
    if (is_alone)
        end_word(r);
}

static int tokenize(const struct llmos_tokenizer *t, struct str text, bool with_space,
                    struct token_sink *out, struct llmos_error *err)
{
    struct run r = {.t = t, .w = t->own, .out = out, .word = " ", .bytes = 1};

    (void)with_space; /* every word begins with one */
    if (wordcache_create(&r.words, text.len) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    for (size_t i = 0; i < text.len;) {
        size_t bytes;

        take_character(&r, unicode_next((struct str){text.at + i, text.len - i}, &bytes));
        i += bytes;
    }
    end_word(&r);
    mem_free(r.words);
    return r.no_unknown
               ? fail(err, LLMOS_EFORMAT,
                      "a word is not in the vocabulary, which has no token for the unknown")
               : 0;
}

const struct vocab_kind vocab_kind_wordpiece = {
    .name = "bert",
    .is_unique = true,
    .add_bos = true,
    .add_end = true,
    .end_is_separator = true,
    .names = {.bos = {"[CLS]", 101}, .unknown = {"[UNK]", 100}, .separator = {"[SEP]", 102}},
    .look = look,
    .piece = piece,
    .make = make,
    .tokenize = tokenize,
};
