/* SPDX-License-Identifier: Apache-2.0 */
/* spm.c - "llama": byte pair merging by scores, as SentencePiece does it (Kudo & Richardson 2018).
 *
 * A text begins as its characters; of all neighbours whose union is a piece the pair with the
 * highest score is merged, the leftmost among equals, until none is left.  What is no piece then is
 * spelled in byte tokens, or is one unknown token where the vocabulary has no bytes. */
#include "base/mem.h"
#include "base/utf8.h"
#include "model/merge.h"
#include "model/tokenize.h"
#include "model/wordcache.h"

struct spm {
    const struct llmos_tokenizer *t;
    struct merging m;
    char *text;
    struct word *words; /* NULL for short texts */
    uint32_t *split;    /* per unused token: bytes of its left half; NULL if there are none such */
};

static bool join(const struct merging *m, const struct symbol *a, const struct symbol *b,
                 struct pair *pair)
{
    const struct spm *s = m->with;

    if (pair->len > VOCAB_PIECE_MAX)
        return false;
    pair->id = vocab_find(s->t, m->text + a->at, a->len + b->len);
    if (pair->id < 0)
        return false;
    if (s->split && s->t->tokens[pair->id].kind == TOKEN_UNUSED)
        s->split[pair->id] = a->len;
    pair->score = s->t->tokens[pair->id].score;
    return true;
}

/* One symbol a character; bytes that are no UTF-8 stand alone. */
static void cut(struct merging *m, struct str text)
{
    for (size_t i = 0; i < text.len;) {
        size_t bytes = utf8_length((struct str){text.at + i, text.len - i});

        bytes += bytes == 0;
        merge_add(m, bytes, -1);
        i += bytes;
    }
}

/* The token of `text` is `id`, if that is not -1.  Unused pieces are taken apart again.  Right
 * halves wait on a stack: they get shorter, so there are at most as many as a piece has bytes. */
static int emit(struct spm *s, struct str text, int32_t id, struct token_sink *out,
                struct llmos_error *err)
{
    struct str waiting[VOCAB_PIECE_MAX];
    size_t n = 0;

    for (;; id = -1) {
        uint32_t left;

        if (id < 0)
            id = vocab_find(s->t, text.at, text.len);
        left = id >= 0 && s->split && s->t->tokens[id].kind == TOKEN_UNUSED ? s->split[id] : 0;
        if (left > 0) {
            waiting[n++] = (struct str){text.at + left, text.len - left};
            text.len = left;
            continue;
        }
        if (id >= 0) {
            token_sink_put(out, id);
        } else {
            int rc = tokenize_spell(s->t, text, out, err);

            if (rc < 0)
                return rc;
        }
        if (n == 0)
            return 0;
        text = waiting[--n];
    }
}

/* Merges; a word of few tokens becomes known. */
static int merge_word(struct spm *s, struct str text, struct word *word, struct token_sink *out,
                      struct llmos_error *err)
{
    int32_t ids[WORDCACHE_IDS];
    struct token_sink few = {ids, WORDCACHE_IDS, 0};
    int rc = 0;

    if (merge_begin(&s->m, text) == 0) {
        cut(&s->m, text);
        rc = merge_run(&s->m);
    } else {
        rc = -1;
    }
    if (rc < 0)
        return fail(err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    for (uint32_t i = 0; i != MERGE_NONE && rc == 0; i = s->m.symbols[i].next) {
        const struct symbol *one = &s->m.symbols[i];

        rc = emit(s, (struct str){text.at + one->at, one->len}, one->id, word ? &few : out, err);
    }
    if (rc == 0 && word) {
        wordcache_keep(word, text, ids, few.count);
        if (few.count > WORDCACHE_IDS)
            return merge_word(s, text, NULL, out, err);
        for (size_t i = 0; i < few.count; i++)
            token_sink_put(out, ids[i]);
    }
    return rc;
}

static int put_word(struct spm *s, struct str text, struct token_sink *out, struct llmos_error *err)
{
    struct word *word = wordcache_at(s->words, text);

    if (!word || !word->length)
        return merge_word(s, text, word, out, err);
    for (size_t i = 0; i < word->count; i++)
        token_sink_put(out, word->ids[i]);
    return 0;
}

static int run(struct spm *s, struct str text, bool with_space, struct token_sink *out,
               struct llmos_error *err)
{
    struct str rest;
    int rc = 0;

    s->text = mem_alloc(text.len + 1);
    if (s->t->has_unused)
        s->split = mem_zalloc(s->t->count, sizeof(*s->split));
    if (!s->text || (s->t->has_unused && !s->split) || wordcache_create(&s->words, text.len) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    rest = (struct str){s->text, vocab_spaces(text, with_space, s->text)};
    while (rest.len > 0 && rc == 0) {
        size_t n = vocab_word(s->t, rest);

        rc = put_word(s, (struct str){rest.at, n}, out, err);
        rest = (struct str){rest.at + n, rest.len - n};
    }
    return rc;
}

static int tokenize(const struct llmos_tokenizer *t, struct str text, bool with_space,
                    struct token_sink *out, struct llmos_error *err)
{
    struct spm s = {.t = t, .m = {.join = join}};
    int rc;

    s.m.with = &s;
    rc = run(&s, text, with_space, out, err);
    merge_fini(&s.m);
    mem_free(s.text);
    mem_free(s.words);
    mem_free(s.split);
    return rc;
}

static int make(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    (void)g;
    (void)err;
    vocab_find_splits(t);
    return 0;
}

const struct vocab_kind vocab_kind_spm = {
    .name = "llama",
    .needs_scores = true,
    .add_bos = true,
    .add_space_prefix = true,
    .names = {.bos = {"<s>", 1}, .eos = {"</s>", 2}, .unknown = {"<unk>", 0}},
    .piece = vocab_piece_spaced,
    .make = make,
    .tokenize = tokenize,
};
