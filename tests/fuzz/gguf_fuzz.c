/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_fuzz.c - any bytes as a model file, or ("PAIR", bytes of the first, u32) as one in two
 * parts: parsed, bound, its vocabulary used, and described. */
#include "base/json.h"
#include "base/mem.h"
#include "model/inspect.h"
#include "model/vocab.h"
#include "model/weights.h"

#include <stdlib.h>

#define CLAIM(claim)  \
    do {              \
        if (!(claim)) \
            abort();  \
    } while (0)

static volatile unsigned char seen;

/* Every tensor's first and last byte, which must be inside the file. */
static void touch(const struct gguf *g)
{
    for (size_t i = 0; i < g->tensor_count; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        const unsigned char *at = t->t.data;

        if (t->bytes)
            seen = (unsigned char)(at[0] ^ at[t->bytes - 1]);
        CLAIM(t->dtype < 0 || t->bytes > 0);
        CLAIM((uintptr_t)at % 4 == 0);
    }
}

static void use_vocabulary(const struct gguf *g)
{
    static const char text[] = " Hello </s><|im_end|> \xe2\x96\x81\xff 1";
    struct llmos_message message = {"user", text, sizeof(text) - 1};
    struct llmos_tokenizer *t = NULL;
    int32_t ids[64];

    if (vocab_create(&t, g, NULL) < 0)
        return;
    for (int flags = 0; flags < 4; flags++) {
        long n = llmos_tokenize(t, text, sizeof(text) - 1, flags, ids, 64, NULL);

        for (long i = 0; i < n && i < 64; i++) {
            const char *piece;

            CLAIM(ids[i] >= 0 && ids[i] < llmos_token_count(t));
            if (llmos_token_piece(t, ids[i], true, &piece) > 0)
                seen = (unsigned char)piece[0];
        }
    }
    llmos_chat_tokenize(t, &message, 1, ids, 64, NULL);
    vocab_destroy(t);
}

/* All of a weight, also of a view, lies in the file. */
static void touch_weight(const struct tensor *t, const struct gguf *g)
{
    const unsigned char *at = t->data;
    size_t bytes = t->row_bytes * t->shape[1] * t->shape[2] * t->shape[3];

    CLAIM(bytes > 0 && bytes <= g->file_bytes);
    seen = (unsigned char)(at[0] ^ at[bytes - 1]);
}

static void touch_weights(const struct weights *w, const struct hparams *h, const struct gguf *g)
{
    const struct tensor *down = weights_get(w, h->n_layer - 1, WEIGHT_DOWN);

    CLAIM((w->model[WEIGHT_OUTPUT] || h->is_encoder) && (down || h->n_expert));
    CLAIM(!down || down->shape[0] == h->n_ff);
    for (uint32_t l = 0; l < h->n_layer; l++)
        for (int role = 0; role < WEIGHT_ROLE_COUNT; role++)
            if (weights_get(w, l, role))
                touch_weight(weights_get(w, l, role), g);
}

static void bind(const struct gguf *g)
{
    struct hparams h;
    struct weights w;
    struct arena arena;

    if (hparams_read(&h, g, NULL) < 0)
        return;
    arena_init(&arena, 4 << 20);
    if (weights_bind(&w, g, &h, &arena, NULL) == 0)
        touch_weights(&w, &h, g);
    arena_fini(&arena);
}

/* What is told of the file must be JSON that our own reader takes. */
static void describe(const struct file_map *parts, unsigned count)
{
    static const struct json_limits limits = {256u << 20, 32, 1u << 24};
    struct llmos_error err = {0};
    json_t *value = NULL;
    struct buf json;

    buf_init(&json, 64 << 20);
    if (inspect_maps(parts, count, &json, &err) == 0) {
        CLAIM(json_parse(&value, buf_str(&json), &limits, &err) == 0);
        json_decref(value);
    }
    buf_fini(&json);
}

/* Each part on its own piece of the heap: aligned, and its end is watched.  False: no memory. */
static bool copy_parts(struct file_map parts[2], unsigned count, const uint8_t *data)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned char *bytes = mem_alloc(parts[i].len);

        if (!bytes)
            return false;
        if (parts[i].len)
            memcpy(bytes, data, parts[i].len);
        parts[i].at = bytes;
        data += parts[i].len;
    }
    return true;
}

static unsigned cut(struct file_map parts[2], const uint8_t **data, size_t size)
{
    uint32_t first;

    parts[0] = (struct file_map){NULL, size};
    if (size < 8 || memcmp(*data, "PAIR", 4) != 0)
        return 1;
    memcpy(&first, *data + 4, 4);
    *data += 8;
    parts[0].len = first < size - 8 ? first : size - 8;
    parts[1] = (struct file_map){NULL, size - 8 - parts[0].len};
    return 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llmos_error err = {0};
    struct file_map parts[2] = {{NULL, 0}, {NULL, 0}};
    unsigned count = cut(parts, &data, size);
    struct gguf g;

    if (copy_parts(parts, count, data)) {
        if (gguf_parse_parts(&g, parts, count, &err) < 0) {
            CLAIM(err.code < 0 && err.text[0]);
        } else {
            CLAIM(count > 1 || g.arena.used_bytes <= 6 * size + 4096);
            touch(&g);
            bind(&g);
            use_vocabulary(&g);
            gguf_fini(&g);
            describe(parts, count);
        }
    }
    for (unsigned i = 0; i < count; i++)
        mem_free((void *)(uintptr_t)parts[i].at);
    return 0;
}
