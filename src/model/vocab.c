/* SPDX-License-Identifier: Apache-2.0 */
/* vocab.c - see vocab.h */
#include "model/vocab.h"

#include "base/mem.h"
#include "model/chat.h"
#include "model/hparams.h"
#include "model/sortindex.h"

#include <inttypes.h>
#include <math.h>
#include <strings.h>
#include <sys/auxv.h>

/* A slot: 0, or a token's number, bits of its hash that spare looking at most wrong ones, and a bit
 * that says so. */
#define SLOT_ID_BITS 22
#define SLOT_ID      ((1u << SLOT_ID_BITS) - 1)
#define SLOT_TAG     (0x1ffu << SLOT_ID_BITS)
#define SLOT_USED    (1u << 31)
_Static_assert(HPARAMS_VOCAB_MAX <= SLOT_ID + 1, "a token's number fits a slot");

/* Names that are marks of a conversation or its end whatever the file says of their kind: files
 * often call them "user defined", and then anybody could type them. */
static const struct {
    const char *name;
    bool ends_generation;
} known_marks[] = {
    {"<|im_start|>", false},
    {"<|im_end|>", true},
    {"<|eot_id|>", true},
    {"<|eom_id|>", true},
    {"<|begin_of_text|>", false},
    {"<|end_of_text|>", true},
    {"<|start_header_id|>", false},
    {"<|end_header_id|>", false},
    {"<|endoftext|>", true},
    {"<|end|>", true},
    {"<|return|>", true},
    {"<|call|>", true},
    {"<|user|>", false},
    {"<|assistant|>", false},
    {"<|system|>", false},
    {"<start_of_turn>", false},
    {"<end_of_turn>", true},
    {"<EOT>", true},
};

/* ---- finding ---- */

static uint64_t read_8(const char *at)
{
    uint64_t word;

    memcpy(&word, at, 8);
    return word;
}

static uint32_t read_4(const char *at)
{
    uint32_t word;

    memcpy(&word, at, 4);
    return word;
}

uint64_t vocab_mix(uint64_t word, uint64_t key)
{
    __extension__ unsigned __int128 product = (unsigned __int128)word * key;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Eight bytes at a time, the last of which may have been there before. */
static uint64_t hash(const struct llmos_tokenizer *t, const char *text, size_t n)
{
    const uint64_t key = t->hash_key;
    uint64_t h = n * key;

    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8)
            h = vocab_mix(h ^ read_8(text + i), key);
        return vocab_mix(h ^ read_8(text + n - 8), key);
    }
    if (n >= 4)
        return vocab_mix(h ^ ((uint64_t)read_4(text) << 32 | read_4(text + n - 4)), key);
    for (size_t i = 0; i < n; i++)
        h ^= (uint64_t)(unsigned char)text[i] << (8 * i);
    return vocab_mix(h, key);
}

static uint32_t tag_of(uint64_t h)
{
    return SLOT_USED | (uint32_t)(h >> 32 & SLOT_TAG);
}

/* The slot where this text is, or would be. */
static uint32_t *find_slot(const struct llmos_tokenizer *t, struct str text, uint64_t h)
{
    uint32_t i = (uint32_t)h & t->slot_mask, tag = tag_of(h);

    while (t->slots[i] != 0 && ((t->slots[i] & ~SLOT_ID) != tag ||
                                !str_eq(t->tokens[t->slots[i] & SLOT_ID].piece, text)))
        i = (i + 1) & t->slot_mask;
    return &t->slots[i];
}

static int32_t find_hashed(const struct llmos_tokenizer *t, struct str text, uint64_t h)
{
    uint32_t slot = *find_slot(t, text, h);

    return slot ? (int32_t)(slot & SLOT_ID) : -1;
}

int32_t vocab_find(const struct llmos_tokenizer *t, const char *text, size_t length)
{
    return find_hashed(t, (struct str){text, length}, hash(t, text, length));
}

void vocab_ask(const struct llmos_tokenizer *t, struct vocab_question *q)
{
    q->hash = hash(t, q->text.at, q->text.len);
    __builtin_prefetch(&t->slots[q->hash & t->slot_mask]);
}

void vocab_come_near(const struct llmos_tokenizer *t, const struct vocab_question *q, bool nearer)
{
    uint32_t slot = t->slots[q->hash & t->slot_mask];

    if (slot && nearer)
        __builtin_prefetch(t->tokens[slot & SLOT_ID].piece.at);
    else if (slot)
        __builtin_prefetch(&t->tokens[slot & SLOT_ID]);
}

int32_t vocab_answer(const struct llmos_tokenizer *t, const struct vocab_question *q)
{
    return find_hashed(t, q->text, q->hash);
}

/* Narrows marks[*low, *high), whose first `depth` bytes are equal, to those with byte b next. */
static void narrow(const struct llmos_tokenizer *t, uint32_t *low, uint32_t *high, size_t depth,
                   unsigned b)
{
    uint32_t ends[2];

    for (unsigned side = 0; side < 2; side++) {
        uint32_t from = *low, to = *high;

        while (from < to) {
            uint32_t middle = from + (to - from) / 2;
            unsigned here = (unsigned char)t->tokens[t->marks[middle]].piece.at[depth];

            if (here < b + side)
                from = middle + 1;
            else
                to = middle;
        }
        ends[side] = from;
    }
    *low = ends[0];
    *high = ends[1];
}

static bool is_asked(const struct token *token, unsigned which)
{
    unsigned is = (token->kind == TOKEN_USER_DEFINED ? VOCAB_USER_DEFINED : VOCAB_CONTROL) |
                  (token->habits & TOKEN_NORMALIZED ? VOCAB_NORMALIZED : VOCAB_NOT_NORMALIZED);

    return (is & which) == is;
}

int32_t vocab_mark_at(const struct llmos_tokenizer *t, const char *text, size_t length,
                      unsigned which)
{
    unsigned first = length ? (unsigned char)text[0] : 0;
    uint32_t low = t->mark_first[first], high = t->mark_first[first + 1];
    int32_t best = -1;

    for (size_t depth = 1; length && low < high; depth++) {
        /* The one that ends here, if any, is in front of those that go on. */
        if (t->tokens[t->marks[low]].piece.len == depth) {
            if (is_asked(&t->tokens[t->marks[low]], which))
                best = (int32_t)t->marks[low];
            low++;
        }
        if (depth == length)
            break;
        narrow(t, &low, &high, depth, (unsigned char)text[depth]);
    }
    return best;
}

int32_t vocab_find_mark(const struct llmos_tokenizer *t, const char *text, size_t length)
{
    int32_t id = vocab_mark_at(t, text, length, VOCAB_ALL_MARKS);

    return id >= 0 && t->tokens[id].piece.len == length ? id : -1;
}

int32_t vocab_find_control(const struct llmos_tokenizer *t, const char *name)
{
    int32_t id = vocab_find_mark(t, name, strlen(name));

    return id >= 0 && t->tokens[id].kind == TOKEN_CONTROL ? id : -1;
}

/* ---- making: one token after the other ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* 0 to 255 for "<0x00>" to "<0xFF>", else -1. */
static int byte_of(struct str text)
{
    if (text.len != 6 || memcmp(text.at, "<0x", 3) != 0 || text.at[5] != '>' ||
        hex(text.at[3]) < 0 || hex(text.at[4]) < 0)
        return -1;
    return hex(text.at[3]) << 4 | hex(text.at[4]);
}

size_t vocab_spaces(struct str text, bool with_space, char *out)
{
    size_t n = 0;

    if (with_space)
        out[n++] = ' ';
    for (size_t i = 0; i < text.len;) {
        bool space = text.len - i >= 3 && memcmp(text.at + i, "\xe2\x96\x81", 3) == 0;

        out[n++] = space ? ' ' : text.at[i];
        i += space ? 3 : 1;
    }
    return n;
}

size_t vocab_word(const struct llmos_tokenizer *t, struct str text)
{
    for (size_t i = 1; i < text.len; i++) {
        char before = text.at[i - 1], here = text.at[i];

        if (here == ' ' && before != ' ' && t->splits_words)
            return i;
        if ((here == '\n' || before == '\n') && t->splits_lines)
            return i;
    }
    return text.len;
}

void vocab_find_splits(struct llmos_tokenizer *t)
{
    bool words = true, lines = true;

    for (uint32_t id = 0; id < t->count; id++) {
        struct str p = t->tokens[id].piece;

        if (t->tokens[id].kind == TOKEN_CONTROL)
            continue;
        for (size_t i = 1; i < p.len; i++) {
            words &= p.at[i] != ' ' || p.at[i - 1] == ' ';
            lines &= p.at[i] != '\n' && p.at[i - 1] != '\n';
        }
    }
    t->splits_words = words;
    t->splits_lines = lines;
}

int vocab_piece_spaced(struct llmos_tokenizer *t, struct token *token, struct str text)
{
    char *copy;

    token->piece = text;
    if (!memmem(text.at, text.len, "\xe2\x96\x81", 3))
        return 0;
    copy = arena_alloc(&t->arena, text.len);
    if (!copy)
        return -1;
    token->piece = (struct str){copy, vocab_spaces(text, false, copy)};
    return 0;
}

static int read_token(struct llmos_tokenizer *t, uint32_t id, struct str text,
                      struct llmos_error *err)
{
    static const unsigned char bytes[256] = {
#define BYTES_4(n)  (n), (n) + 1, (n) + 2, (n) + 3
#define BYTES_16(n) BYTES_4(n), BYTES_4((n) + 4), BYTES_4((n) + 8), BYTES_4((n) + 12)
#define BYTES_64(n) BYTES_16(n), BYTES_16((n) + 16), BYTES_16((n) + 32), BYTES_16((n) + 48)
        BYTES_64(0), BYTES_64(64), BYTES_64(128), BYTES_64(192)};
    struct token *token = &t->tokens[id];
    int byte = byte_of(text);

    if (text.len > VOCAB_PIECE_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "token %" PRIu32 " is %zu bytes long, at most %d are accepted", id, text.len,
                    VOCAB_PIECE_MAX);
    if (t->kind->has_named_bytes && byte >= 0 && token->kind == TOKEN_NORMAL)
        token->kind = TOKEN_BYTE;
    if (token->kind == TOKEN_BYTE) {
        if (byte < 0)
            return fail(err, LLMOS_EFORMAT,
                        "token %" PRIu32 " '%.*s' is called a byte, '<0x00>' to '<0xFF>' are", id,
                        STR_ARG(text));
        if (t->byte_token[byte] < 0)
            t->byte_token[byte] = (int32_t)id;
        token->piece = (struct str){(const char *)&bytes[byte], 1};
        return 0;
    }
    if (t->kind->piece(t, token, text) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory for token %" PRIu32, id);
    return 0;
}

static void adjust_kind(struct llmos_tokenizer *t, uint32_t id)
{
    struct token *token = &t->tokens[id];
    struct str s = token->piece;

    if (token->kind == TOKEN_BYTE || token->kind == TOKEN_UNKNOWN)
        return;
    if (token->kind == TOKEN_USER_DEFINED && s.len > 4 && memcmp(s.at, "<|", 2) == 0 &&
        memcmp(s.at + s.len - 2, "|>", 2) == 0)
        token->kind = TOKEN_CONTROL;
    for (size_t i = 0; i < sizeof(known_marks) / sizeof(known_marks[0]); i++)
        if (str_is(s, known_marks[i].name)) {
            token->kind = TOKEN_CONTROL;
            t->ends_generation[id] = known_marks[i].ends_generation;
        }
}

/* The kind as the file gives it, or as the text shows in files that give none. */
static int read_kind(const struct gguf_array *kinds, uint32_t id, struct str text,
                     enum token_kind *kind, struct llmos_error *err)
{
    int32_t k;

    if (kinds->count == 0) {
        *kind = byte_of(text) >= 0                            ? TOKEN_BYTE
                : str_is(text, "<unk>")                       ? TOKEN_UNKNOWN
                : str_is(text, "<s>") || str_is(text, "</s>") ? TOKEN_CONTROL
                                                              : TOKEN_NORMAL;
        return 0;
    }
    k = gguf_array_i32(kinds, id);
    if (k < 0 || k > TOKEN_BYTE)
        return fail(err, LLMOS_EFORMAT, "token %" PRIu32 " has kind %" PRId32 ", 1 to 6 are known",
                    id, k);
    *kind = k ? (enum token_kind)k : TOKEN_NORMAL; /* 0: the writer did not say */
    return 0;
}

static int read_tokens(struct llmos_tokenizer *t, const struct gguf_array *texts,
                       const struct gguf_array *scores, const struct gguf_array *kinds,
                       struct llmos_error *err)
{
    for (uint32_t id = 0; id < t->count; id++) {
        struct token *token = &t->tokens[id];
        struct str text = gguf_array_str(texts, id);
        enum token_kind kind = TOKEN_NORMAL;
        int rc = read_kind(kinds, id, text, &kind, err);

        token->kind = kind;
        if (rc == 0)
            rc = read_token(t, id, text, err);
        if (rc < 0)
            return rc;
        token->score = scores->count ? gguf_array_f32(scores, id) : 0;
        if (isnan(token->score))
            return fail(err, LLMOS_EFORMAT, "the score of token %" PRIu32 " is not a number", id);
        adjust_kind(t, id);
        t->has_unused |= token->kind == TOKEN_UNUSED;
    }
    return 0;
}

/* ---- making: habits of special tokens ---- */

static int read_habits(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    static const char key[] = "llmos.added_tokens";
    struct gguf_array pairs = {0};
    int rc = gguf_get_array(g, key, GGUF_I32, &pairs, err);

    if (rc > 0 && pairs.count % 2)
        return fail(err, LLMOS_EFORMAT, "key '%s' has %" PRIu64 " elements, which are no pairs",
                    key, pairs.count);
    for (uint64_t i = 0; rc > 0 && i < pairs.count; i += 2) {
        int32_t id = gguf_array_i32(&pairs, i), habits = gguf_array_i32(&pairs, i + 1);

        if (id < 0 || (uint32_t)id >= t->count || habits < 0 || habits > 15)
            return fail(err, LLMOS_EFORMAT,
                        "key '%s' gives token %" PRId32 " the habits %" PRId32
                        "; there are %" PRIu32 " tokens and habits up to 15",
                        key, id, habits, t->count);
        t->tokens[id].habits = (uint8_t)habits;
    }
    return rc;
}

static bool has_word(struct str text, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i + n <= text.len; i++)
        if (strncasecmp(text.at + i, word, n) == 0)
            return true;
    return false;
}

/* Files of others do not say; llama.cpp goes by these names. */
static int guess_habits(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    struct str name = STR(""), pre = STR("");
    int rc = gguf_get_str(g, "general.name", &name, err);
    bool is_phi, is_jina;

    if (rc >= 0)
        rc = gguf_get_str(g, "tokenizer.ggml.pre", &pre, err);
    is_phi = has_word(name, "phi-3") || has_word(name, "phi3");
    is_jina = str_is(pre, "jina-v2-de") || str_is(pre, "jina-v2-es") || str_is(pre, "jina-v2-code");
    for (uint32_t id = 0; id < t->count && rc >= 0 && (is_phi || is_jina); id++) {
        struct token *token = &t->tokens[id];
        struct str p = token->piece;

        if (is_jina && str_is(p, "<mask>"))
            token->habits = TOKEN_LSTRIP;
        if (is_phi && !str_is(p, "<unk>") && !str_is(p, "<s>") && !str_is(p, "<|endoftext|>"))
            token->habits = TOKEN_RSTRIP; /* of others than special tokens it is of no effect */
    }
    return rc;
}

static int find_habits(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    int rc = read_habits(t, g, err);

    if (rc == 0)
        rc = guess_habits(t, g, err);
    for (uint32_t id = 0; id < t->count; id++)
        t->has_normalized |= t->tokens[id].habits & TOKEN_NORMALIZED;
    return rc < 0 ? rc : 0;
}

/* ---- making: tables ---- */

/* What merging, or whatever the kind does, may come to. */
static bool is_made(const struct token *token)
{
    return token->piece.len && !token->is_literal &&
           (token->kind == TOKEN_NORMAL || token->kind == TOKEN_UNUSED ||
            token->kind == TOKEN_USER_DEFINED);
}

/* Puts a token where its piece hashes to; of two equal ones the later stays. */
static int put_slot(struct llmos_tokenizer *t, uint32_t id, uint64_t h, struct llmos_error *err)
{
    const struct token *token = &t->tokens[id];
    uint32_t *slot = find_slot(t, token->piece, h), old = *slot & SLOT_ID;

    if (t->kind->is_unique && *slot) {
        if (token->kind == TOKEN_NORMAL && t->tokens[old].kind == TOKEN_NORMAL)
            return fail(err, LLMOS_EFORMAT, "tokens %" PRIu32 " and %" PRIu32 " are both '%.*s'",
                        old, id, STR_ARG(token->piece));
        if (token->kind != TOKEN_NORMAL)
            return 0;
    }
    *slot = tag_of(h) | id;
    return 0;
}

/* So many at a time: memory is on its way to the last while the first are put. */
#define SLOTS_AHEAD 16

static int fill_slots(struct llmos_tokenizer *t, struct llmos_error *err)
{
    uint64_t hashes[SLOTS_AHEAD];
    int rc = 0;

    for (uint32_t i = 0; i < t->count + SLOTS_AHEAD && rc == 0; i++) {
        uint64_t *h = &hashes[i % SLOTS_AHEAD];
        uint32_t id = i - SLOTS_AHEAD;

        if (i >= SLOTS_AHEAD && is_made(&t->tokens[id]))
            rc = put_slot(t, id, *h, err);
        if (i < t->count) {
            *h = hash(t, t->tokens[i].piece.at, t->tokens[i].piece.len);
            __builtin_prefetch(&t->slots[*h & t->slot_mask], 1);
        }
    }
    return rc;
}

static int make_slots(struct llmos_tokenizer *t, struct llmos_error *err)
{
    uint32_t n = 16;

    while (n < 2 * t->count)
        n *= 2;
    t->slots = arena_array(&t->arena, uint32_t, n);
    if (!t->slots)
        return fail(err, LLMOS_ENOMEM, "no memory for a table of %" PRIu32 " tokens", t->count);
    t->slot_mask = n - 1;
    return fill_slots(t, err);
}

static bool is_recognised(const struct token *token)
{
    return token->piece.len && (token->kind == TOKEN_CONTROL || token->kind == TOKEN_UNKNOWN ||
                                token->kind == TOKEN_USER_DEFINED);
}

/* By piece; of equal ones control tokens come first, and are the ones that stay. */
static bool mark_before(const void *tokens, uint32_t a, uint32_t b)
{
    const struct token *x = (const struct token *)tokens + a, *y = (const struct token *)tokens + b;
    size_t n = x->piece.len < y->piece.len ? x->piece.len : y->piece.len;
    int c = memcmp(x->piece.at, y->piece.at, n);

    if (c != 0 || x->piece.len != y->piece.len)
        return c != 0 ? c < 0 : x->piece.len < y->piece.len;
    return x->kind != y->kind ? x->kind < y->kind : a < b;
}

static int make_marks(struct llmos_tokenizer *t, struct llmos_error *err)
{
    uint32_t n = 0, kept = 0;

    for (uint32_t id = 0; id < t->count; id++)
        n += is_recognised(&t->tokens[id]);
    t->marks = arena_array(&t->arena, uint32_t, n);
    if (!t->marks)
        return fail(err, LLMOS_ENOMEM, "no memory for %" PRIu32 " special tokens", n);
    n = 0;
    for (uint32_t id = 0; id < t->count; id++)
        if (is_recognised(&t->tokens[id]))
            t->marks[n++] = id;
    sortindex(t->marks, n, mark_before, t->tokens);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || !str_eq(t->tokens[t->marks[i]].piece, t->tokens[t->marks[kept - 1]].piece))
            t->marks[kept++] = t->marks[i];
    for (uint32_t i = 0; i < kept; i++)
        t->mark_first[1 + (unsigned char)t->tokens[t->marks[i]].piece.at[0]]++;
    for (unsigned b = 0; b < 256; b++)
        t->mark_first[b + 1] += t->mark_first[b];
    return 0;
}

/* ---- making: what the header says ---- */

/* -1, or 2^32 - 1 as older writers have it, stands for "none". */
static int read_id(const struct llmos_tokenizer *t, const struct gguf *g, const char *key,
                   int32_t *id, struct llmos_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);
    uint64_t u = UINT32_MAX;
    int rc;

    if (!v)
        return 0;
    if ((v->type == GGUF_I32 || v->type == GGUF_I64) && v->i == -1)
        rc = 0;
    else
        rc = gguf_get_u64(g, key, 0, UINT32_MAX, &u, err);
    if (rc < 0)
        return rc;
    if (u != UINT32_MAX && u >= t->count)
        return fail(err, LLMOS_EFORMAT,
                    "key '%s' is %" PRIu64 ", the vocabulary has %" PRIu32 " tokens", key, u,
                    t->count);
    *id = u == UINT32_MAX ? -1 : (int32_t)u;
    return 1;
}

static int32_t id_if(const struct llmos_tokenizer *t, const struct vocab_named *named)
{
    return named->name && named->id < t->count && str_is(t->tokens[named->id].piece, named->name)
               ? (int32_t)named->id
               : -1;
}

static int read_ids(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    int32_t separator = id_if(t, &t->kind->names.separator), eot = -1, eom = -1;
    const struct {
        const char *key;
        int32_t *id;
    } ids[] = {
        {"tokenizer.ggml.cls_token_id",
         &t->bos}, /* "bert" begins with it; bos_token_id, if there */
        {"tokenizer.ggml.bos_token_id", &t->bos}, /* is one, says it better */
        {"tokenizer.ggml.eos_token_id", &t->eos},
        {"tokenizer.ggml.unknown_token_id", &t->unknown},
        {"tokenizer.ggml.seperator_token_id", &separator}, /* as writers spell it */
        {"tokenizer.ggml.separator_token_id", &separator},
        {"tokenizer.ggml.eot_token_id", &eot},
        {"tokenizer.ggml.eom_token_id", &eom},
    };
    int rc = 0;

    t->bos = id_if(t, &t->kind->names.bos);
    t->eos = id_if(t, &t->kind->names.eos);
    t->unknown = id_if(t, &t->kind->names.unknown);
    for (size_t i = t->kind->end_is_separator ? 0 : 1; i < sizeof(ids) / sizeof(ids[0]); i++) {
        rc = read_id(t, g, ids[i].key, ids[i].id, err);
        if (rc < 0)
            return rc;
    }
    if (t->eos >= 0)
        t->ends_generation[t->eos] = true;
    if (eot >= 0)
        t->ends_generation[eot] = true;
    if (eom >= 0)
        t->ends_generation[eom] = true;
    t->end = t->kind->end_is_separator ? separator : t->eos;
    /* Files of kinds that need no unknown token often call EOS so, and text must not become that.
     */
    if (t->unknown >= 0 && (t->unknown == t->bos || t->ends_generation[t->unknown]))
        t->unknown = -1;
    return 0;
}

/* Where an answer is several messages (gpt-oss), their end is not its end. */
static void keep_messages_apart(struct llmos_tokenizer *t)
{
    int32_t end = vocab_find_control(t, "<|end|>");

    if (end >= 0 && end != t->eos && vocab_find_control(t, "<|channel|>") >= 0 &&
        vocab_find_control(t, "<|call|>") >= 0 && vocab_find_control(t, "<|return|>") >= 0)
        t->ends_generation[end] = false;
}

static int read_flags(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    const char *end =
        t->kind->end_is_separator ? "tokenizer.ggml.add_sep_token" : "tokenizer.ggml.add_eos_token";
    int rc;

    t->add_bos = t->kind->add_bos;
    t->add_end = t->kind->add_end;
    t->add_space_prefix = t->kind->add_space_prefix;
    rc = gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos, err);
    if (rc >= 0)
        rc = gguf_get_bool(g, end, &t->add_end, err);
    if (rc >= 0)
        rc = gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &t->add_space_prefix, err);
    return rc < 0 ? rc : 0;
}

static bool is_kind(const struct vocab_kind *kind, struct str model, struct str splitting)
{
    if (str_is(model, "gpt2"))
        for (size_t i = 0; i < sizeof(kind->splittings) / sizeof(kind->splittings[0]); i++)
            if (kind->splittings[i] && str_is(splitting, kind->splittings[i]))
                return true;
    return str_is(model, kind->name);
}

static int find_kind(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    static const struct vocab_kind *const kinds[] = {&vocab_kind_spm, &vocab_kind_spaced,
                                                     &vocab_kind_bpe, &vocab_kind_unigram,
                                                     &vocab_kind_wordpiece};
    struct str model, splitting = STR("");
    int rc = gguf_get_str(g, "tokenizer.ggml.model", &model, err);

    if (rc == 0)
        return fail(err, LLMOS_EFORMAT, "the file lacks key 'tokenizer.ggml.model'");
    if (rc > 0)
        rc = gguf_get_str(g, "tokenizer.ggml.pre", &splitting, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !t->kind; i++)
        if (is_kind(kinds[i], model, splitting))
            t->kind = kinds[i];
    if (!t->kind)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "tokenizer '%.*s' is not supported; this version knows: llama gpt2 gemma4 t5 "
                    "bert",
                    STR_ARG(model));
    return 0;
}

/* An array beside the tokens: as many elements as there are tokens. */
static int read_beside(const struct llmos_tokenizer *t, const struct gguf *g, const char *key,
                       enum gguf_type type, struct gguf_array *a, struct llmos_error *err)
{
    int rc = gguf_get_array(g, key, type, a, err);

    if (rc > 0 && a->count != t->count)
        return fail(err, LLMOS_EFORMAT,
                    "key '%s' has %" PRIu64 " elements, the vocabulary has %" PRIu32 " tokens", key,
                    a->count, t->count);
    return rc;
}

static int read_vocabulary(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    struct gguf_array texts = {0}, scores = {0}, kinds = {0};
    int rc = gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &texts, err);

    if (rc < 0)
        return rc;
    if (texts.count == 0)
        return fail(err, LLMOS_EFORMAT, "the file has no tokens in 'tokenizer.ggml.tokens'");
    if (texts.count > HPARAMS_VOCAB_MAX)
        return fail(err, LLMOS_ELIMIT, "%" PRIu64 " tokens, at most %d are accepted", texts.count,
                    HPARAMS_VOCAB_MAX);
    t->count = (uint32_t)texts.count;
    rc = read_beside(t, g, "tokenizer.ggml.scores", GGUF_F32, &scores, err);
    if (rc == 0 && t->kind->needs_scores)
        return fail(err, LLMOS_EFORMAT, "the file lacks key 'tokenizer.ggml.scores'");
    if (rc >= 0)
        rc = read_beside(t, g, "tokenizer.ggml.token_type", GGUF_I32, &kinds, err);
    if (rc < 0)
        return rc;
    t->tokens = arena_array(&t->arena, struct token, t->count);
    t->ends_generation = arena_array(&t->arena, bool, t->count);
    if (!t->tokens || !t->ends_generation)
        return fail(err, LLMOS_ENOMEM, "no memory for %" PRIu32 " tokens", t->count);
    if (t->kind->look)
        t->kind->look(t, &texts);
    return read_tokens(t, &texts, &scores, &kinds, err);
}

static int create(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    int rc = find_kind(t, g, err);

    t->splitting = "";
    memset(t->byte_token, 0xff, sizeof(t->byte_token));
    if (rc == 0)
        rc = read_vocabulary(t, g, err);
    if (rc == 0)
        rc = read_ids(t, g, err);
    if (rc == 0)
        rc = read_flags(t, g, err);
    if (rc == 0)
        rc = find_habits(t, g, err);
    if (rc == 0)
        rc = make_slots(t, err);
    if (rc == 0)
        rc = make_marks(t, err);
    if (rc == 0)
        keep_messages_apart(t);
    if (rc == 0 && t->kind->make)
        rc = t->kind->make(t, g, err);
    return rc < 0 ? rc : chat_create(t, g, err);
}

/* The kernel gives every program sixteen random bytes; asking for others is a system call. */
static uint64_t unforeseen(void)
{
    const char *random = (const char *)getauxval(AT_RANDOM);

    return (random ? read_8(random) : 0x9e3779b97f4a7c15u) | 1;
}

int vocab_create(struct llmos_tokenizer **tokenizer, const struct gguf *g, struct llmos_error *err)
{
    struct llmos_tokenizer *t = mem_zalloc(1, sizeof(*t));
    int rc;

    if (!t)
        return fail(err, LLMOS_ENOMEM, "no memory for a tokenizer");
    /* A token takes 8 bytes of the file at least (its length) and about 70 here, a merge 8 and 43,
     * a byte of a piece up to 40 where pieces are walked byte by byte; what splits a text takes a
     * quarter of a megabyte at most. */
    t->hash_key = unforeseen();
    arena_init(&t->arena,
               g->file_bytes > (SIZE_MAX >> 6) ? SIZE_MAX >> 1 : 40 * g->file_bytes + (1 << 19));
    rc = create(t, g, err);
    if (rc < 0) {
        vocab_destroy(t);
        return rc;
    }
    *tokenizer = t;
    return 0;
}

void vocab_destroy(struct llmos_tokenizer *t)
{
    if (!t)
        return;
    chat_destroy(t->chat);
    arena_fini(&t->arena);
    mem_free(t);
}

/* ---- the public questions ---- */

static const struct token *token_at(const struct llmos_tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->count ? &t->tokens[id] : NULL;
}

size_t llmos_token_piece(const llmos_tokenizer *t, int32_t token, bool with_special,
                         const char **piece)
{
    const struct token *one = token_at(t, token);

    *piece = "";
    if (!one || (!with_special && (one->kind == TOKEN_CONTROL || one->kind == TOKEN_UNKNOWN)))
        return 0;
    *piece = one->piece.at;
    return one->piece.len;
}

int32_t llmos_token_count(const llmos_tokenizer *t)
{
    return (int32_t)t->count;
}

int32_t llmos_token_bos(const llmos_tokenizer *t)
{
    return t->bos;
}

int32_t llmos_token_eos(const llmos_tokenizer *t)
{
    return t->eos;
}

bool llmos_token_ends_generation(const llmos_tokenizer *t, int32_t token)
{
    return token_at(t, token) && t->ends_generation[token];
}

bool llmos_token_is_control(const llmos_tokenizer *t, int32_t token)
{
    const struct token *one = token_at(t, token);

    return one && one->kind == TOKEN_CONTROL;
}
