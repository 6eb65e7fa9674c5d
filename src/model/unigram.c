/* SPDX-License-Identifier: Apache-2.0 */
/* unigram.c - "t5": the likeliest way to spell a text in pieces, each with its log probability
 * (Kudo 2018), as SentencePiece and T5 do it.
 *
 * The text is made normal first (charsmap.h, spaces); then Viterbi over the pieces.  What no piece
 * covers is unknown, at a price, and is spelled in byte tokens where the vocabulary has them. */
#include "base/buf.h"
#include "base/utf8.h"
#include "model/charsmap.h"
#include "model/tokenize.h"
#include "model/trie.h"
#include "model/wordcache.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>

/* What an unknown character costs below the least likely piece (SentencePiece's kUnkPenalty). */
#define UNKNOWN_PENALTY 10.0

struct unigram {
    struct trie trie;
    struct charsmap charsmap;
    double unknown_score;
    bool merges_spaces; /* "remove_extra_whitespaces" */
};

/* ---- making ---- */

static int add_pieces(struct llmos_tokenizer *t, struct unigram *u, struct llmos_error *err)
{
    double lowest = (double)FLT_MAX;

    for (uint32_t id = 0; id < t->count; id++) {
        const struct token *token = &t->tokens[id];
        struct str p = token->piece;

        if (token->kind != TOKEN_NORMAL || p.len == 0)
            continue;
        if (!isfinite(token->score)) {
            trie_drop(&u->trie);
            return fail(err, LLMOS_EFORMAT, "the score of token %" PRIu32 " is not a finite number",
                        id);
        }
        if (trie_add(&u->trie, p, (int32_t)id) < 0) {
            trie_drop(&u->trie);
            return fail(err, LLMOS_ENOMEM, "no memory for the pieces of the vocabulary");
        }
        lowest = (double)token->score < lowest ? (double)token->score : lowest;
    }
    u->unknown_score = lowest - UNKNOWN_PENALTY;
    return trie_keep(&u->trie, &t->arena) < 0
               ? fail(err, LLMOS_ENOMEM, "no memory for the pieces of the vocabulary")
               : 0;
}

static int make(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    struct unigram *u = arena_alloc(&t->arena, sizeof(*u));
    int rc;

    if (!u)
        return fail(err, LLMOS_ENOMEM, "no memory for a tokenizer");
    t->own = u;
    rc = add_pieces(t, u, err);
    if (rc < 0)
        return rc;
    vocab_find_splits(t);
    /* What is unknown is one with what is unknown in front of it. */
    t->splits_words &= vocab_find(t, " ", 1) >= 0;
    t->splits_lines &= vocab_find(t, "\n", 1) >= 0;
    rc = gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &u->merges_spaces, err);
    return rc < 0 ? rc : charsmap_read(&u->charsmap, g, err);
}

/* ---- a normal text ---- */

/* Writes what normal bytes say: spaces merged if the model wants it, U+2581 as the space it stands
 * for. */
static void put_normal(const struct unigram *u, struct str part, bool *in_word, struct buf *out)
{
    for (size_t i = 0; i < part.len; i++) {
        bool is_written_space = part.len - i >= 3 && memcmp(part.at + i, "\xe2\x96\x81", 3) == 0;

        if (part.at[i] == ' ' && u->merges_spaces) {
            *in_word = false;
            continue;
        }
        if (!*in_word && u->merges_spaces && out->len > 0 && out->at[out->len - 1] != ' ')
            buf_putc(out, ' ');
        *in_word = true;
        buf_putc(out, is_written_space ? ' ' : part.at[i]);
        i += is_written_space ? 2 : 0;
    }
}

static int make_normal(const struct unigram *u, struct str text, bool with_space, struct buf *out,
                       struct llmos_error *err)
{
    bool in_word = false;
    int rc = 0;

    if (with_space)
        buf_putc(out, ' ');
    for (size_t i = 0; i < text.len && rc == 0;) {
        struct str rest = {text.at + i, text.len - i}, part;
        size_t used = 0;

        rc = charsmap_next(&u->charsmap, rest, &part, &used, err);
        if (rc == 0)
            put_normal(u, part, &in_word, out);
        i += used;
    }
    if (rc == 0 && u->merges_spaces && out->len == 1 && out->at[0] == ' ' && !in_word)
        buf_clear(out); /* nothing but spaces */
    return rc < 0 ? rc : buf_check(out, "the text made normal", err);
}

/* ---- the likeliest spelling ---- */

/* How a place in the text is best reached. */
struct best {
    double score;
    uint32_t from;
    int32_t id; /* -1: by an unknown character; from is meaningless where score is -INFINITY */
};

struct run {
    const struct llmos_tokenizer *t;
    const struct unigram *u;
    struct word *words;
    struct best *best;
    size_t best_room;
    struct token_sink *out;
    struct llmos_error *err;
};

static void reach(struct best *place, double score, size_t from, int32_t id)
{
    if (score > place->score)
        *place = (struct best){score, (uint32_t)from, id};
}

static void spread(struct run *r, struct str text, size_t at, size_t character)
{
    const struct trie *trie = &r->u->trie;
    double score = r->best[at].score;
    bool has_character = false;
    uint32_t node = TRIE_ROOT;

    for (size_t i = at; i < text.len; i++) {
        int32_t id;

        node = trie_next(trie, node, (unsigned char)text.at[i]);
        if (!node)
            break;
        id = trie->values[node];
        if (id < 0)
            continue;
        has_character |= i + 1 - at == character;
        reach(&r->best[i + 1], score + (double)r->t->tokens[id].score, at, id);
    }
    if (!has_character)
        reach(&r->best[at + character], score + r->u->unknown_score, at, -1);
}

/* Turns the way back from the end into a way forward: best[at].from is then where to go. */
static void turn_round(struct best *best, size_t end)
{
    uint32_t at = (uint32_t)end, next = (uint32_t)end;
    int32_t id = -1;

    for (;;) {
        struct best here = best[at];

        best[at].from = next;
        best[at].id = id;
        if (at == 0)
            return;
        next = at;
        id = here.id;
        at = here.from;
    }
}

/* Puts the tokens; runs of unknown characters are one.  *n counts them, the first go to ids. */
static int put_best(struct run *r, struct str text, int32_t *ids, size_t *n)
{
    size_t at = 0;
    int rc = 0;

    while (at < text.len && rc == 0) {
        size_t next = r->best[at].from;
        int32_t id = r->best[at].id;

        if (id >= 0) {
            token_sink_put(r->out, id);
            if (*n < WORDCACHE_IDS)
                ids[*n] = id;
            ++*n;
        } else {
            while (next < text.len && r->best[next].id < 0)
                next = r->best[next].from;
            rc = tokenize_spell(r->t, (struct str){text.at + at, next - at}, r->out, r->err);
            *n = WORDCACHE_IDS + 1;
        }
        at = next;
    }
    return rc;
}

static int grow_best(struct run *r, size_t count)
{
    struct best *grown;

    if (count <= r->best_room)
        return 0;
    grown = mem_resize(r->best, count < 256 ? 256 : count, sizeof(*grown));
    if (!grown)
        return fail(r->err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", count);
    r->best = grown;
    r->best_room = count < 256 ? 256 : count;
    return 0;
}

static int put_word(struct run *r, struct str text)
{
    struct word *word = wordcache_at(r->words, text);
    int32_t ids[WORDCACHE_IDS];
    size_t n = 0;
    int rc;

    if (word && word->length) {
        for (size_t i = 0; i < word->count; i++)
            token_sink_put(r->out, word->ids[i]);
        return 0;
    }
    rc = grow_best(r, text.len + 1);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i <= text.len; i++)
        r->best[i].score = i ? -(double)INFINITY : 0;
    for (size_t i = 0; i < text.len;) {
        size_t character = utf8_length((struct str){text.at + i, text.len - i});

        character += character == 0;
        spread(r, text, i, character);
        i += character;
    }
    turn_round(r->best, text.len);
    rc = put_best(r, text, ids, &n);
    if (rc == 0)
        wordcache_keep(word, text, ids, n);
    return rc;
}

static int put_words(struct run *r, struct str text)
{
    int rc = 0;

    while (text.len > 0 && rc == 0) {
        size_t n = vocab_word(r->t, text);

        rc = put_word(r, (struct str){text.at, n});
        text = (struct str){text.at + n, text.len - n};
    }
    return rc;
}

static int tokenize(const struct llmos_tokenizer *t, struct str text, bool with_space,
                    struct token_sink *out, struct llmos_error *err)
{
    struct run r = {.t = t, .u = t->own, .out = out, .err = err};
    struct buf normal;
    int rc;

    buf_init(&normal, 4 * (size_t)TOKENIZE_TEXT_BYTES_MAX);
    rc = make_normal(r.u, text, with_space, &normal, err);
    if (rc == 0 && wordcache_create(&r.words, normal.len) < 0)
        rc = fail(err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    if (rc == 0 && normal.len > 0)
        rc = put_words(&r, buf_str(&normal));
    mem_free(r.best);
    mem_free(r.words);
    buf_fini(&normal);
    return rc;
}

const struct vocab_kind vocab_kind_unigram = {
    .name = "t5",
    .needs_scores = true,
    .is_unique = true,
    .add_end = true,
    .names = {.eos = {"</s>", 1}, .unknown = {"<unk>", 2}},
    .piece = vocab_piece_spaced,
    .make = make,
    .tokenize = tokenize,
};
