/* SPDX-License-Identifier: Apache-2.0 */
/* tokenize_fuzz.c - any text through a real vocabulary and back.  The first byte chooses the flags.
 */
#include "base/mem.h"
#include "llmos/model.h"
#include "model/synth.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const llmos_tokenizer *t;
    const char *text = (const char *)data + 1;
    size_t length = size - 1, room = size + 64;
    int32_t *ids;
    long n;

    if (size == 0)
        return 0;
    if (!model)
        make_model();
    t = llmos_model_tokenizer(model);
    ids = mem_alloc(room * sizeof(*ids));
    if (!ids)
        return 0;
    n = llmos_tokenize(t, text, length, data[0] & 3, ids, room, NULL);
    CLAIM(n >= 0 && (size_t)n <= room);
    CLAIM(llmos_tokenize(t, text, length, data[0] & 3, NULL, 0, NULL) == n);
    for (long i = 0; i < n; i++)
        CLAIM(ids[i] >= 0 && ids[i] < llmos_token_count(t));
    if ((data[0] & 3) == 0)
        check_round_trip(t, ids, n, text, length);
    check_chat(t, text, length, ids, room);
    mem_free(ids);
    return 0;
}
