/* SPDX-License-Identifier: Apache-2.0 */
/* tokenize_fuzz.c - any text through a real vocabulary and back, and any vocabulary.
 *
 * The first byte chooses flags (bits 0 to 2) and, by its upper bits, a vocabulary that is at hand
 * or one that the input describes: see read_vocabulary. */
#include "base/mem.h"
#include "llmos/model.h"
#include "model/ggufwrite.h"
#include "model/pretokenizer.h"
#include "model/synth.h"
#include "model/vocab.h"
#include "model/wordsteps.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CLAIM(claim)  \
    do {              \
        if (!(claim)) \
            abort();  \
    } while (0)

static llmos_model *model;

static void make_model(void)
{
    struct synth_options o = {1, 8, 2, 1, 8, 500, 32, DTYPE_F32, 1, true, false, true};
    int fd = memfd_create("model", MFD_CLOEXEC);

    CLAIM(fd >= 0 && synth_write(fd, &o, NULL) == 0);
    CLAIM(llmos_model_open_fd(&model, fd, NULL) == 0);
    close(fd);
}

/* ---- a vocabulary of the input's own ---- */

struct input {
    const uint8_t *at;
    size_t left;
};

static unsigned take_byte(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static struct str take_str(struct input *in)
{
    size_t n = take_byte(in) & 31;
    struct str s = {(const char *)in->at, n < in->left ? n : in->left};

    in->at += s.len;
    in->left -= s.len;
    return s;
}

/* A token's kind, score and text; several at most 64. */
static void write_tokens(struct ggufwrite *w, struct input *in, bool with_kinds)
{
    struct str texts[64];
    float scores[64];
    int32_t kinds[64];
    size_t n = 1 + take_byte(in) % 64;

    for (size_t i = 0; i < n; i++) {
        unsigned head = take_byte(in);

        kinds[i] = (int32_t)(head & 7);
        scores[i] = head == 255 ? NAN : -(float)(head >> 3);
        texts[i] = take_str(in);
    }
    ggufwrite_array(w, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        ggufwrite_put_str(w, texts[i]);
    ggufwrite_array(w, "tokenizer.ggml.scores", GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        ggufwrite_put_f32(w, scores[i]);
    if (!with_kinds)
        return;
    ggufwrite_array(w, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        ggufwrite_put_i32(w, kinds[i]);
}

static void write_merges(struct ggufwrite *w, struct input *in)
{
    size_t n = take_byte(in) % 64;

    ggufwrite_array(w, "tokenizer.ggml.merges", GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        ggufwrite_put_str(w, take_str(in));
}

static void write_charsmap(struct ggufwrite *w, struct input *in)
{
    size_t n = 4 * (take_byte(in) * 4), texts = take_byte(in);

    ggufwrite_array(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, 4 + n + texts);
    for (size_t i = 0; i < 4; i++)
        ggufwrite_put_u8(w, (uint8_t)(n >> (8 * i)));
    for (size_t i = 0; i < n + texts; i++)
        ggufwrite_put_u8(w, (uint8_t)take_byte(in));
}

static void write_habits(struct ggufwrite *w, struct input *in)
{
    size_t n = take_byte(in) % 32;

    ggufwrite_array(w, "llmos.added_tokens", GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        ggufwrite_put_i32(w, (int32_t)take_byte(in));
}

/* By their bits, or as any text. */
static void write_steps(struct ggufwrite *w, struct input *in, bool as_text)
{
    char names[WORDSTEPS_TEXT_MAX];

    if (!as_text)
        wordsteps_print(take_byte(in), names);
    ggufwrite_str(w, "llmos.wordpiece.steps", as_text ? take_str(in) : str_of(names));
}

static llmos_model *read_vocabulary(struct input *in)
{
    static const char *const kinds[] = {"llama", "gpt2", "t5", "bert"};
    unsigned kind = take_byte(in), flags = take_byte(in), pre = take_byte(in);
    const struct pretokenizer *p = pretokenizer_at(pre);
    llmos_model *m = NULL;
    struct ggufwrite w;
    int fd = memfd_create("vocabulary", MFD_CLOEXEC);

    CLAIM(fd >= 0);
    ggufwrite_init(&w, fd);
    ggufwrite_str(&w, "tokenizer.ggml.model", str_of(kind & 16 ? "gemma4" : kinds[kind % 4]));
    if (p)
        ggufwrite_str(&w, "tokenizer.ggml.pre", str_of(p->name));
    ggufwrite_bool(&w, "tokenizer.ggml.add_space_prefix", flags & 1);
    ggufwrite_bool(&w, "tokenizer.ggml.remove_extra_whitespaces", flags & 2);
    ggufwrite_bool(&w, "tokenizer.ggml.add_bos_token", flags & 4);
    if (flags & 8)
        ggufwrite_u32(&w, "tokenizer.ggml.unknown_token_id", take_byte(in));
    if (flags & 16)
        ggufwrite_u32(&w, "tokenizer.ggml.bos_token_id", take_byte(in));
    if (kind & 4)
        write_steps(&w, in, kind & 8);
    write_tokens(&w, in, !(flags & 32));
    write_merges(&w, in);
    if (flags & 64)
        write_charsmap(&w, in);
    if (flags & 128)
        write_habits(&w, in);
    CLAIM(ggufwrite_begin(&w, NULL) == 0 && ggufwrite_end(&w, NULL) == 0);
    ggufwrite_fini(&w);
    llmos_model_open_vocabulary_fd(&m, fd, NULL);
    close(fd);
    return m;
}

/* ---- claims ---- */

/* The pieces of the tokens, one after the other, are a space and the text; U+2581 counts as one. */
static void check_round_trip(const llmos_tokenizer *t, const int32_t *ids, long n, const char *text,
                             size_t length)
{
    size_t at = 0;

    for (long i = 0; i < n; i++) {
        const char *piece;
        size_t bytes = llmos_token_piece(t, ids[i], false, &piece);

        CLAIM(bytes > 0);
        for (size_t k = 0; k < bytes; k++) {
            if (i == 0 && k == 0) {
                CLAIM(piece[0] == ' ');
            } else if (length - at >= 3 && memcmp(text + at, "\xe2\x96\x81", 3) == 0) {
                CLAIM(piece[k] == ' ');
                at += 3;
            } else {
                CLAIM(at < length && piece[k] == text[at]);
                at++;
            }
        }
    }
    CLAIM(at == length);
}

/* Whatever is said, the conversation has the same marks. */
static void check_chat(const llmos_tokenizer *t, const char *text, size_t length, int32_t *ids,
                       size_t room)
{
    struct llmos_message message = {"user", text, length};
    long n = llmos_chat_tokenize(t, &message, 1, ids, room, NULL);
    int control = 0;

    CLAIM(n > 0 && (size_t)n <= room);
    for (long i = 0; i < n; i++)
        control += llmos_token_is_control(t, ids[i]);
    CLAIM(control == 4); /* <s>, two <|im_start|>, one <|im_end|> */
}

/* Text never becomes a control token, and what is counted is what is written. */
static long check_tokens(const llmos_tokenizer *t, const char *text, size_t length, int flags,
                         int32_t *ids, size_t room)
{
    long n = llmos_tokenize(t, text, length, flags, ids, room, NULL);

    CLAIM(llmos_tokenize(t, text, length, flags, NULL, 0, NULL) == n);
    for (long i = 0; i < n && (size_t)i < room; i++) {
        const char *piece;

        CLAIM(ids[i] >= 0 && ids[i] < llmos_token_count(t));
        llmos_token_piece(t, ids[i], true, &piece);
    }
    if (n > 0 && (size_t)n <= room && !flags)
        for (long i = 0; i < n; i++)
            CLAIM(!llmos_token_is_control(t, ids[i]) ||
                  (ids[i] == t->unknown && !llmos_token_ends_generation(t, ids[i])));
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    int flags = (int)take_byte(&in);
    llmos_model *own = NULL;
    const llmos_tokenizer *t;
    size_t room = 4 * size + 64;
    int32_t *ids;
    long n;

    if (size == 0)
        return 0;
    if (!model)
        make_model();
    if (flags & 0xf8) {
        own = read_vocabulary(&in);
        if (!own)
            return 0;
    }
    ids = mem_alloc(room * sizeof(*ids));
    CLAIM(ids);
    t = llmos_model_tokenizer(own ? own : model);
    n = check_tokens(t, (const char *)in.at, in.left, flags & 7, ids, room);
    if (!own) {
        CLAIM(n >= 0 && (size_t)n <= room);
        if ((flags & 7) == 0)
            check_round_trip(t, ids, n, (const char *)in.at, in.left);
        check_chat(t, (const char *)in.at, in.left, ids, room);
    }
    mem_free(ids);
    llmos_model_close(own);
    return 0;
}
