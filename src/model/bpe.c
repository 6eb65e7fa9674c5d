/* SPDX-License-Identifier: Apache-2.0 */
/* bpe.c - "gpt2" and "gemma4": byte pair encoding by a list of merges.
 *
 * "gpt2" is byte-level (Radford et al. 2019): a text is cut into words (pretokenizer.h), and a word
 * begins as its bytes.  The file writes bytes as printable characters; here pieces are the bytes
 * themselves.
 *
 * "gemma4" is SentencePiece's kind of BPE as tokenizer.json has it: spaces are U+2581 in the file,
 * no text is cut, it begins as its characters, and what is no token is spelled in tokens for bytes.
 *
 * Merges, each two tokens and what they become, are done in the order of the file's list. */
#include "base/mem.h"
#include "base/utf8.h"
#include "model/hparams.h"
#include "model/merge.h"
#include "model/pretokenizer.h"
#include "model/tokenize.h"
#include "model/unicode.h"
#include "model/wordcache.h"

#include <inttypes.h>

#define RANK_FREE UINT32_MAX
/* Ranks are scores of merging: up to here a float holds them exactly. */
#define MERGES_MAX (1u << 24)

struct rank {
    int32_t left, right;
    uint32_t rank; /* its place in the file, RANK_FREE: an empty slot */
    int32_t id;    /* what the two become */
};

struct bpe {
    const struct pretokenizer *pretokenizer; /* NULL: "gemma4" */
    struct splitter splitter;
    struct rank *ranks; /* hash table; slots are a power of two */
    uint32_t rank_mask;
    uint64_t hash_key; /* the tokenizer's */
};

/* ---- bytes as the file writes them ---- */

/* Bytes that print stand for themselves, the other 68 are U+0100 and up in their order; -1: no
 * byte.
 */
static int byte_of(uint32_t c)
{
    if (c < 0x100)
        return (c > 0x20 && c < 0x7f) || (c > 0xa0 && c != 0xad) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}

/* The bytes that text stands for, at most text.len of them; false if a character stands for none.
 */
static bool decode(struct str text, char *bytes, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < text.len;) {
        unsigned char c = (unsigned char)text.at[i];
        size_t len = 1;
        int byte = c;

        if (c <= ' ' || c >= 0x7f) /* no letter of ASCII, which most of them are */
            byte = byte_of(unicode_next((struct str){text.at + i, text.len - i}, &len));
        if (byte < 0)
            return false;
        bytes[(*n)++] = (char)byte;
        i += len;
    }
    return true;
}

/* Only what can come out of merging is written in that way; the rest is literal. */
static int piece(struct llmos_tokenizer *t, struct token *token, struct str text)
{
    char *bytes;

    token->piece = text;
    if (token->kind != TOKEN_NORMAL && token->kind != TOKEN_UNUSED)
        return 0;
    bytes = arena_alloc(&t->arena, text.len);
    if (!bytes)
        return -1;
    token->is_literal = !decode(text, bytes, &token->piece.len);
    if (token->is_literal)
        token->piece = text;
    else
        token->piece.at = bytes;
    return 0;
}

/* ---- merges ---- */

/* Where looking for these two begins. */
static struct rank *rank_slot(const struct bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;

    return &b->ranks[(uint32_t)vocab_mix(pair, b->hash_key) & b->rank_mask];
}

static struct rank *find_rank(const struct bpe *b, int32_t left, int32_t right)
{
    struct rank *rank = rank_slot(b, left, right);

    while (rank->rank != RANK_FREE && (rank->left != left || rank->right != right))
        rank = rank == &b->ranks[b->rank_mask] ? b->ranks : rank + 1;
    return rank;
}

/* A line of the file that is being read. */
struct line {
    struct str text;
    struct vocab_question left, right; /* in bytes, one behind the other */
    struct rank rank;                  /* what it comes to; id -1: to nothing */
    char bytes[2 * VOCAB_PIECE_MAX];
};

/* The tables of 150k tokens are larger than the cache nearby, and one line after the other would
 * wait for memory eight times each.  So lines are in five stages at the same time, each of which
 * asks for what the next one needs. */
#define STAGE_LINES 6
#define LINES_AHEAD (5 * STAGE_LINES)

struct reading {
    const struct llmos_tokenizer *t;
    struct bpe *b;
    int32_t last; /* what the merge before made */
    struct line lines[LINES_AHEAD];
    struct llmos_error *err;
};

/* What one side of a merge stands for, at most text.len bytes; their number, 0: nothing. */
static size_t read_side(const struct bpe *b, struct str text, char *bytes)
{
    size_t n;

    if (!b->pretokenizer)
        return vocab_spaces(text, false, bytes);
    return decode(text, bytes, &n) ? n : 0;
}

static int refuse(uint64_t number, struct str text, const char *why, struct llmos_error *err)
{
    return fail(err, LLMOS_EFORMAT, "merge %" PRIu64 " '%.*s' %s", number, STR_ARG(text), why);
}

static int begin_line(struct reading *r, uint64_t number, struct str text)
{
    struct line *line = &r->lines[number % LINES_AHEAD];
    const char *space = text.len > 1 ? memchr(text.at + 1, ' ', text.len - 1) : NULL;
    struct str first, second;

    if (!space || space == text.at + text.len - 1 || text.len > sizeof(line->bytes))
        return refuse(number, text,
                      text.len > sizeof(line->bytes) ? "is too long" : "is not two tokens", r->err);
    first = (struct str){text.at, (size_t)(space - text.at)};
    second = (struct str){space + 1, text.len - first.len - 1};
    line->text = text;
    line->left.text = (struct str){line->bytes, read_side(r->b, first, line->bytes)};
    line->right.text.at = line->bytes + line->left.text.len;
    line->right.text.len = read_side(r->b, second, line->bytes + line->left.text.len);
    if (line->left.text.len == 0 || line->right.text.len == 0)
        return refuse(number, text, "is not written in the characters that stand for bytes",
                      r->err);
    vocab_ask(r->t, &line->left);
    vocab_ask(r->t, &line->right);
    return 0;
}

/* Most vocabularies list tokens in the order of the merges that make them. */
static int32_t find_made(const struct reading *r, struct str made)
{
    const struct llmos_tokenizer *t = r->t;
    uint32_t likely = (uint32_t)(r->last + 1);

    if (likely < t->count && t->tokens[likely].kind == TOKEN_NORMAL &&
        !t->tokens[likely].is_literal && str_eq(t->tokens[likely].piece, made))
        return (int32_t)likely;
    return vocab_find(t, made.at, made.len);
}

/* Is it a token, but one that text must not become? */
static bool is_mark(const struct llmos_tokenizer *t, int32_t id, struct str text)
{
    return id < 0 && vocab_find_mark(t, text.at, text.len) >= 0;
}

static int find_line(struct reading *r, uint64_t number)
{
    struct line *line = &r->lines[number % LINES_AHEAD];
    struct str made = {line->bytes, line->left.text.len + line->right.text.len};
    int32_t left = vocab_answer(r->t, &line->left), right = vocab_answer(r->t, &line->right);
    int32_t id = find_made(r, made);

    line->rank = (struct rank){left, right, (uint32_t)number, -1};
    if (left >= 0 && right >= 0 && id >= 0) {
        line->rank.id = r->last = id;
        __builtin_prefetch(rank_slot(r->b, left, right));
        return 0;
    }
    if (is_mark(r->t, left, line->left.text) || is_mark(r->t, right, line->right.text) ||
        is_mark(r->t, id, made))
        return 0; /* text never becomes what is made of it either */
    return refuse(number, line->text,
                  id < 0 && left >= 0 && right >= 0 ? "makes a token that is not in the vocabulary"
                                                    : "names a token that is not in the vocabulary",
                  r->err);
}

static void end_line(struct reading *r, const struct line *line)
{
    struct rank *rank;

    if (line->rank.id < 0)
        return;
    rank = find_rank(r->b, line->rank.left, line->rank.right);
    if (rank->rank == RANK_FREE)
        *rank = line->rank;
}

static int read_lines(struct reading *r, const struct gguf_array *merges)
{
    const uint64_t n = merges->count;
    int rc = 0;

    for (uint64_t i = 0; i < n + 4 * STAGE_LINES && rc == 0; i++) {
        const uint64_t second = i - STAGE_LINES, third = second - STAGE_LINES,
                       fourth = third - STAGE_LINES, last = fourth - STAGE_LINES;

        if (i < n)
            rc = begin_line(r, i, gguf_array_str(merges, i));
        for (unsigned far = 0; far < 2; far++) {
            uint64_t number = far ? third : second;
            struct line *line = &r->lines[number % LINES_AHEAD];

            if (number >= n)
                continue;
            vocab_come_near(r->t, &line->left, far);
            vocab_come_near(r->t, &line->right, far);
        }
        if (rc == 0 && fourth < n)
            rc = find_line(r, fourth);
        if (rc == 0 && last < n)
            end_line(r, &r->lines[last % LINES_AHEAD]);
    }
    return rc;
}

static int read_merges(struct llmos_tokenizer *t, struct bpe *b, const struct gguf *g,
                       struct llmos_error *err)
{
    struct reading r = {.t = t, .b = b, .last = -1, .err = err};
    struct gguf_array merges;
    uint32_t slots = 16;
    int rc = gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STRING, &merges, err);

    if (rc < 0)
        return rc;
    if (rc == 0)
        return fail(err, LLMOS_EFORMAT, "the file lacks key 'tokenizer.ggml.merges'");
    if (merges.count > MERGES_MAX)
        return fail(err, LLMOS_ELIMIT, "%" PRIu64 " merges, at most %u are accepted", merges.count,
                    MERGES_MAX);
    while (slots < merges.count + merges.count / 3 + 1)
        slots *= 2;
    b->ranks = arena_array(&t->arena, struct rank, slots);
    if (!b->ranks)
        return fail(err, LLMOS_ENOMEM, "no memory for %" PRIu64 " merges", merges.count);
    memset(b->ranks, 0xff, slots * sizeof(*b->ranks));
    b->rank_mask = slots - 1;
    return read_lines(&r, &merges);
}

/* ---- making ---- */

static int find_pretokenizer(struct bpe *b, const struct gguf *g, struct llmos_error *err)
{
    struct str name = STR("default");
    int rc = gguf_get_str(g, "tokenizer.ggml.pre", &name, err);

    if (rc < 0)
        return rc;
    b->pretokenizer = pretokenizer_by_name(name);
    if (!b->pretokenizer)
        return fail(
            err, LLMOS_EUNSUPPORTED,
            "pre-tokenizer '%.*s' is not known to this version; if the model splits text as "
            "a known one does, say its name in 'tokenizer.ggml.pre'",
            STR_ARG(name));
    return 0;
}

static int begin_making(struct llmos_tokenizer *t, struct llmos_error *err)
{
    struct bpe *b = arena_alloc(&t->arena, sizeof(*b));

    if (!b)
        return fail(err, LLMOS_ENOMEM, "no memory for a tokenizer");
    *b = (struct bpe){.hash_key = t->hash_key};
    t->own = b;
    return 0;
}

static int make_spaced(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    int rc = begin_making(t, err);

    vocab_find_splits(t);
    return rc < 0 ? rc : read_merges(t, t->own, g, err);
}

static int make(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    int rc = begin_making(t, err);
    struct bpe *b = t->own;

    if (rc == 0)
        rc = find_pretokenizer(b, g, err);
    if (rc == 0)
        rc = pretokenizer_compile(b->pretokenizer, &b->splitter, &t->arena, err);
    if (rc == 0)
        rc = read_merges(t, b, g, err);
    if (rc < 0)
        return rc;
    t->splitting = b->pretokenizer->name;
    if (!gguf_find(g, "tokenizer.ggml.add_bos_token"))
        t->add_bos = b->pretokenizer->add_bos;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;

        t->byte_token[byte] = vocab_find(t, &c, 1);
    }
    return 0;
}

/* ---- words ---- */

struct run {
    const struct llmos_tokenizer *t;
    const struct bpe *b;
    struct merging m;
    struct word *words; /* NULL for short texts */
    struct token_sink *out;
    struct llmos_error *err;
};

static bool join(const struct merging *m, const struct symbol *a, const struct symbol *b,
                 struct pair *pair)
{
    const struct rank *rank = find_rank(m->with, a->id, b->id);

    if (rank->rank == RANK_FREE)
        return false;
    pair->score = -(float)rank->rank;
    pair->id = rank->id;
    return true;
}

/* A word as what it begins as: bytes that are no UTF-8 are characters, too. */
static void add_symbols(struct run *r, struct str text)
{
    for (size_t i = 0; i < text.len;) {
        struct str rest = {text.at + i, text.len - i};
        size_t bytes = r->b->pretokenizer ? 1 : utf8_length(rest);

        bytes += bytes == 0;
        merge_add(&r->m, bytes,
                  r->b->pretokenizer ? r->t->byte_token[(unsigned char)rest.at[0]]
                                     : vocab_find(r->t, rest.at, bytes));
        i += bytes;
    }
}

/* Merges; a word of few tokens becomes known. */
static int merge_word(struct run *r, struct str text, struct word *word)
{
    int32_t ids[WORDCACHE_IDS];
    size_t n = 0;
    int rc = merge_begin(&r->m, text);

    if (rc == 0) {
        add_symbols(r, text);
        rc = merge_run(&r->m);
    }
    if (rc < 0)
        return fail(r->err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    for (uint32_t i = 0; i != MERGE_NONE && rc == 0; i = r->m.symbols[i].next) {
        const struct symbol *s = &r->m.symbols[i];

        if (s->id < 0) {
            rc = tokenize_spell(r->t, (struct str){text.at + s->at, s->len}, r->out, r->err);
            word = NULL;
            continue;
        }
        token_sink_put(r->out, s->id);
        if (n < WORDCACHE_IDS)
            ids[n] = s->id;
        n++;
    }
    wordcache_keep(word, text, ids, n);
    return rc;
}

static int put_word(void *run, struct str text)
{
    struct run *r = run;
    struct word *word = wordcache_at(r->words, text);
    int32_t id;

    if (word && word->length) {
        for (size_t i = 0; i < word->count; i++)
            token_sink_put(r->out, word->ids[i]);
        return 0;
    }
    id = r->b->pretokenizer && r->b->pretokenizer->ignore_merges
             ? vocab_find(r->t, text.at, text.len)
             : -1;
    if (id < 0)
        return merge_word(r, text, word);
    token_sink_put(r->out, id);
    wordcache_keep(word, text, &id, 1);
    return 0;
}

/* A text that is not cut, but where nothing is ever joined. */
static int put_spaced(struct run *r, struct str text)
{
    CLEANUP(free) char *spaced = mem_alloc(text.len + 1);
    struct str rest;
    int rc = 0;

    if (!spaced)
        return fail(r->err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    rest = (struct str){spaced, vocab_spaces(text, false, spaced)};
    while (rest.len > 0 && rc == 0) {
        size_t n = vocab_word(r->t, rest);

        rc = put_word(r, (struct str){rest.at, n});
        rest = (struct str){rest.at + n, rest.len - n};
    }
    return rc;
}

static int tokenize(const struct llmos_tokenizer *t, struct str text, bool with_space,
                    struct token_sink *out, struct llmos_error *err)
{
    struct run r = {
        .t = t, .b = t->own, .m = {.join = join, .with = t->own}, .out = out, .err = err};
    int rc;

    (void)with_space; /* these vocabularies have no such habit */
    if (wordcache_create(&r.words, text.len) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    rc =
        r.b->pretokenizer ? splitter_run(&r.b->splitter, text, put_word, &r) : put_spaced(&r, text);
    merge_fini(&r.m);
    mem_free(r.words);
    return rc;
}

const struct vocab_kind vocab_kind_bpe = {
    .name = "gpt2",
    .is_unique = true,
    .piece = piece,
    .make = make,
    .tokenize = tokenize,
};

/* The names in "tokenizer.ggml.pre" are those of files that say "gpt2" all the same. */
const struct vocab_kind vocab_kind_spaced = {
    .name = "gemma4",
    .splittings = {"gemma4", "granite-embed-multi-311m", "sarvam-moe"},
    .has_named_bytes = true,
    .add_bos = true,
    .piece = vocab_piece_spaced,
    .make = make_spaced,
    .tokenize = tokenize,
};
