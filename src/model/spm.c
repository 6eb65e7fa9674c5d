/* SPDX-License-Identifier: Apache-2.0 */
/* spm.c - see spm.h */
#include "model/spm.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <inttypes.h>

#define NONE UINT32_MAX

/* A run of the text that is one piece so far; merged ones form a list. */
struct symbol {
    uint32_t at, len; /* len 0: merged into the one on its left */
    uint32_t previous, next;
};

/* Two neighbours that may be merged.  Stale if they no longer are `len` bytes together: symbols
 * only grow. */
struct pair {
    float score;
    uint32_t left, right, len;
};

struct merging {
    const struct llmos_tokenizer *t;
    char *text;
    struct symbol *symbols;
    size_t symbol_count;
    struct pair *heap; /* the best on top */
    size_t heap_count, heap_room;
    uint32_t *split; /* per unused token: bytes of its left half; NULL if there are none such */
    bool no_memory;
};

/* ---- the heap ---- */

static bool better(const struct pair *a, const struct pair *b)
{
    return a->score != b->score ? a->score > b->score : a->left < b->left;
}

static void heap_push(struct merging *m, struct pair pair)
{
    size_t i = m->heap_count;

    if (i == m->heap_room) {
        size_t room = i < 64 ? 64 : i * 2;
        struct pair *grown = mem_resize(m->heap, room, sizeof(*grown));

        if (!grown) {
            m->no_memory = true;
            return;
        }
        m->heap = grown;
        m->heap_room = room;
    }
    m->heap_count++;
    while (i > 0 && better(&pair, &m->heap[(i - 1) / 2])) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = pair;
}

static struct pair heap_pop(struct merging *m)
{
    struct pair top = m->heap[0], moving = m->heap[--m->heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= m->heap_count)
            break;
        if (child + 1 < m->heap_count && better(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (!better(&m->heap[child], &moving))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = moving;
    return top;
}

/* ---- merging ---- */

static void consider(struct merging *m, uint32_t left, uint32_t right)
{
    const struct symbol *a, *b;
    int32_t id;

    if (left == NONE || right == NONE)
        return;
    a = &m->symbols[left];
    b = &m->symbols[right];
    if (a->len + b->len > VOCAB_PIECE_MAX)
        return;
    id = vocab_find(m->t, m->text + a->at, a->len + b->len);
    if (id < 0)
        return;
    if (m->split && m->t->tokens[id].kind == TOKEN_UNUSED)
        m->split[id] = a->len;
    heap_push(m, (struct pair){m->t->tokens[id].score, left, right, a->len + b->len});
}

/* One symbol a character; bytes that are no UTF-8 stand alone. */
static void cut(struct merging *m, size_t length)
{
    uint32_t n = 0;

    for (size_t i = 0; i < length; n++) {
        size_t bytes = utf8_length((struct str){m->text + i, length - i});

        bytes += bytes == 0;
        m->symbols[n] = (struct symbol){(uint32_t)i, (uint32_t)bytes, n - 1, n + 1};
        i += bytes;
    }
    m->symbol_count = n;
    m->symbols[0].previous = NONE;
    m->symbols[n - 1].next = NONE;
}

static void merge(struct merging *m)
{
    for (uint32_t i = 1; i < m->symbol_count; i++)
        consider(m, i - 1, i);
    while (m->heap_count > 0 && !m->no_memory) {
        struct pair best = heap_pop(m);
        struct symbol *left = &m->symbols[best.left], *right = &m->symbols[best.right];

        if (left->len == 0 || right->len == 0 || left->len + right->len != best.len)
            continue;
        left->len += right->len;
        right->len = 0;
        left->next = right->next;
        if (left->next != NONE)
            m->symbols[left->next].previous = best.left;
        consider(m, left->previous, best.left);
        consider(m, best.left, left->next);
    }
}

/* ---- what came out, as tokens ---- */

static int spell(const struct llmos_tokenizer *t, struct str text, struct token_sink *out,
                 struct llmos_error *err)
{
    for (size_t i = 0; i < text.len; i++) {
        if (t->byte_token[(unsigned char)text.at[i]] >= 0)
            continue;
        if (t->unknown < 0)
            return fail(err, LLMOS_EFORMAT,
                        "the vocabulary has no token for byte 0x%02x and none for the unknown",
                        (unsigned char)text.at[i]);
        token_sink_put(out, t->unknown);
        return 0;
    }
    for (size_t i = 0; i < text.len; i++)
        token_sink_put(out, t->byte_token[(unsigned char)text.at[i]]);
    return 0;
}

/* Unused pieces are taken apart again.  Right halves wait on a stack: they get shorter, so there
 * are at most as many as a piece has bytes. */
static int emit(const struct merging *m, struct str text, struct token_sink *out,
                struct llmos_error *err)
{
    struct str waiting[VOCAB_PIECE_MAX];
    size_t n = 0;

    for (;;) {
        int32_t id = vocab_find(m->t, text.at, text.len);
        uint32_t left =
            id >= 0 && m->split && m->t->tokens[id].kind == TOKEN_UNUSED ? m->split[id] : 0;

        if (left > 0) {
            waiting[n++] = (struct str){text.at + left, text.len - left};
            text.len = left;
            continue;
        }
        if (id >= 0) {
            token_sink_put(out, id);
        } else {
            int rc = spell(m->t, text, out, err);

            if (rc < 0)
                return rc;
        }
        if (n == 0)
            return 0;
        text = waiting[--n];
    }
}

static int run(struct merging *m, struct str text, bool with_space, struct token_sink *out,
               struct llmos_error *err)
{
    size_t n = 0;
    int rc = 0;

    m->text = mem_alloc(text.len + 1);
    m->symbols = mem_alloc((text.len + 1) * sizeof(*m->symbols));
    if (m->t->has_unused)
        m->split = mem_zalloc(m->t->count, sizeof(*m->split));
    if (!m->text || !m->symbols || (m->t->has_unused && !m->split))
        return fail(err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    if (with_space)
        m->text[n++] = ' ';
    /* U+2581 is how vocabularies write a space: in a text it means the same. */
    for (size_t i = 0; i < text.len;) {
        bool space = text.len - i >= 3 && memcmp(text.at + i, "\xe2\x96\x81", 3) == 0;

        m->text[n++] = space ? ' ' : text.at[i];
        i += space ? 3 : 1;
    }
    cut(m, n);
    merge(m);
    if (m->no_memory)
        return fail(err, LLMOS_ENOMEM, "no memory to tokenize %zu bytes", text.len);
    for (uint32_t i = 0; i != NONE && rc == 0; i = m->symbols[i].next)
        rc = emit(m, (struct str){m->text + m->symbols[i].at, m->symbols[i].len}, out, err);
    return rc;
}

int spm_tokenize(const struct llmos_tokenizer *t, struct str text, bool with_space,
                 struct token_sink *out, struct llmos_error *err)
{
    struct merging m = {.t = t};
    int rc;

    if (text.len == 0)
        return 0;
    rc = run(&m, text, with_space, out, err);
    mem_free(m.text);
    mem_free(m.symbols);
    mem_free(m.heap);
    mem_free(m.split);
    return rc;
}

int spm_tokenize_marked(const struct llmos_tokenizer *t, struct str text, bool control,
                        bool *after_control, struct token_sink *out, struct llmos_error *err)
{
    size_t from = 0, i = 0;

    while (i <= text.len) {
        int32_t mark = i < text.len ? vocab_mark_at(t, text.at + i, text.len - i, control) : -1;
        int rc;

        if (mark < 0 && i < text.len) {
            i++;
            continue;
        }
        rc = spm_tokenize(t, (struct str){text.at + from, i - from},
                          *after_control && t->add_space_prefix, out, err);
        if (rc < 0)
            return rc;
        if (i > from)
            *after_control = false;
        if (mark < 0)
            break;
        token_sink_put(out, mark);
        *after_control = t->tokens[mark].kind != TOKEN_USER_DEFINED;
        i += t->tokens[mark].piece.len;
        from = i;
    }
    return 0;
}

long llmos_tokenize(const llmos_tokenizer *t, const char *text, size_t length, int flags,
                    int32_t *tokens, size_t room, struct llmos_error *err)
{
    struct token_sink out = {tokens, room, 0};
    bool after_control = true;
    int rc;

    if (length > SPM_TEXT_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT, "%zu bytes of text, at most %u are accepted", length,
                    SPM_TEXT_BYTES_MAX);
    if ((flags & LLMOS_TOKENIZE_ADD_BOS) && t->add_bos && t->bos >= 0)
        token_sink_put(&out, t->bos);
    rc = spm_tokenize_marked(t, (struct str){length ? text : "", length},
                             flags & LLMOS_TOKENIZE_PARSE_SPECIAL, &after_control, &out, err);
    return rc < 0 ? rc : (long)out.count;
}
