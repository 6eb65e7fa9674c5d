/* SPDX-License-Identifier: Apache-2.0 */
/* wordpiece.c - "bert": words, each as the longest pieces from its left (Wu et al. 2016; Devlin et
 * al. 2019).
 *
 * GGUF writes a piece that begins a word with U+2581 in front, vocab.txt one that goes on with
 * "##"; here a word begins with a space.  Before that the text is made plain: control characters
 * vanish, marks and Chinese characters stand alone, and, where the vocabulary has no capital
 * letters, letters lose accents and case. */
#include "base/fail.h"
#include "model/tokenize.h"
#include "model/trie.h"
#include "model/unicode.h"
#include "model/wordcache.h"

/* Longer words are one unknown token (BERT's max_input_chars_per_word). */
#define WORD_CHARACTERS_MAX 100
#define WORD_BYTES_MAX      (1 + 4 * WORD_CHARACTERS_MAX)

struct wordpiece {
    struct trie trie;
    bool keeps_case;
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

/* "##ing" to "ing" and "go" to " go", or "ing" and U+2581 "go" to the same. */
static int piece(struct llmos_tokenizer *t, struct token *token, struct str text)
{
    char *copy;

    token->piece = text;
    if (token->kind != TOKEN_NORMAL && token->kind != TOKEN_UNUSED)
        return 0;
    if (!t->is_hashed)
        return vocab_piece_spaced(t, token, text);
    if (begins(text, "##") && text.len > 2) {
        token->piece = (struct str){text.at + 2, text.len - 2};
        return 0;
    }
    copy = arena_alloc(&t->arena, text.len + 1);
    if (!copy)
        return -1;
    copy[0] = ' ';
    memcpy(copy + 1, text.at, text.len);
    token->piece = (struct str){copy, text.len + 1};
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

static int make(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    struct wordpiece *w = arena_alloc(&t->arena, sizeof(*w));
    int rc = w ? 0 : -1;

    (void)g;
    for (uint32_t id = 0; id < t->count && rc == 0; id++) {
        const struct token *token = &t->tokens[id];

        if (token->kind != TOKEN_NORMAL && token->kind != TOKEN_UNUSED)
            continue;
        rc = trie_add(&w->trie, token->piece, (int32_t)id);
        w->keeps_case |= has_capital(token->piece);
    }
    if (w && rc < 0)
        trie_drop(&w->trie);
    if (rc == 0)
        rc = trie_keep(&w->trie, &t->arena);
    t->own = w;
    return rc < 0 ? fail(err, LLMOS_ENOMEM, "no memory for the pieces of the vocabulary") : 0;
}

/* ---- words ---- */

struct run {
    const struct llmos_tokenizer *t;
    const struct wordpiece *w;
    struct token_sink *out;
    struct word *words;
    char word[WORD_BYTES_MAX]; /* a space, then what came so far */
    size_t bytes, characters;
    int32_t ids[WORD_BYTES_MAX];
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

static void put_character(struct run *r, uint32_t c)
{
    if (unicode_is_space(c))
        end_word(r);
    else if (c < 0x80 ? is_ascii_mark(c) : unicode_is_old_punctuation(c))
        add_alone(r, c);
    else
        add(r, c);
}

static void take_character(struct run *r, uint32_t c)
{
    uint32_t folded[UNICODE_FORM_MAX] = {c};
    size_t n = 1;
    bool is_alone = is_chinese(c);

    /* Line ends are spaces; other spaces that are control characters vanish like these. */
    if (c == '\t' || c == '\n' || c == '\r') {
        end_word(r);
        return;
    }
    if ((c < ' ' || c >= 0x7f) && unicode_is_old_control(c))
        return;
    if (!r->w->keeps_case)
        n = unicode_fold(c, folded);
    if (is_alone)
        end_word(r);
    for (size_t i = 0; i < n; i++)
        put_character(r, folded[i]);
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
