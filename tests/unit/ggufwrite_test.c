/* SPDX-License-Identifier: Apache-2.0 */
/* ggufwrite_test.c - what is written is read back, in every type. */
#include "test.h"

#include "modelfile.h"

#define ROWS  18
#define INNER 256 /* 4608 values: more than are converted at once */

TEST(ggufwrite_round_trips_every_type)
{
    static float x[ROWS * INNER], back[INNER];
    static const double tolerance[DTYPE_COUNT] = {
        [DTYPE_F32] = 0,     [DTYPE_F16] = 1e-3,   [DTYPE_BF16] = 1e-2,  [DTYPE_Q8_0] = 1e-2,
        [DTYPE_Q4_0] = 0.15, [DTYPE_Q4_1] = 0.08,  [DTYPE_Q5_0] = 0.08,  [DTYPE_Q5_1] = 0.04,
        [DTYPE_Q4_K] = 0.15, [DTYPE_Q6_K] = 0.05,  [DTYPE_Q2_K] = 0.4,   [DTYPE_Q3_K] = 0.3,
        [DTYPE_Q5_K] = 0.08, [DTYPE_IQ4_NL] = 0.2, [DTYPE_IQ4_XS] = 0.2, [DTYPE_MXFP4] = 0.3,
        [DTYPE_TQ1_0] = 0.6, [DTYPE_TQ2_0] = 0.6,  [DTYPE_IQ1_S] = 1.3,  [DTYPE_IQ1_M] = 1.3,
        [DTYPE_IQ2_XXS] = 1, [DTYPE_IQ2_XS] = 1,   [DTYPE_IQ2_S] = 1,    [DTYPE_IQ3_XXS] = 0.8,
        [DTYPE_IQ3_S] = 0.8};

    for (size_t i = 0; i < ROWS * INNER; i++)
        x[i] = (float)((i * 37) % 200) / 100 - 1;
    for (int type = 0; type < DTYPE_COUNT; type++) {
        int fd = modelfile_fd("", 0);
        struct ggufwrite w;
        struct gguf g;
        const struct gguf_tensor *t;
        unsigned char *bytes;
        size_t n;

        ggufwrite_init(&w, fd);
        ggufwrite_tensor(&w, "first", DTYPE_F32, (uint64_t[]){3}, 1); /* 12 bytes: padding */
        ggufwrite_tensor(&w, "x", type, (uint64_t[]){INNER, ROWS}, 2);
        CHECK_INT(ggufwrite_begin(&w, NULL), 0);
        CHECK_INT(ggufwrite_values(&w, x, 3, NULL), 0);
        CHECK_INT(ggufwrite_values(&w, x, INNER, NULL), 0);
        CHECK_INT(ggufwrite_values(&w, x + INNER, (ROWS - 1) * INNER, NULL), 0);
        CHECK_INT(ggufwrite_end(&w, NULL), 0);
        ggufwrite_fini(&w);
        bytes = modelfile_bytes(fd, &n);
        CHECK_INT(gguf_parse(&g, bytes, n, NULL), 0);
        t = gguf_find_tensor(&g, "x");
        CHECK(t);
        CHECK_INT(t->dtype, type);
        CHECK_INT(t->bytes, ROWS * dtype_row_bytes(type, INNER));
        for (size_t r = 0; r < ROWS; r++) {
            dtype_info(type)->to_f32(tensor_row(&t->t, r), back, INNER);
            for (size_t i = 0; i < INNER; i++)
                CHECK_NEAR((double)back[i], (double)x[r * INNER + i], tolerance[type]);
        }
        gguf_fini(&g);
        free(bytes);
    }
}

TEST(ggufwrite_says_when_the_disk_is_full)
{
    struct llmos_error err = {0};
    struct ggufwrite w;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        SKIP("no /dev/full");
    ggufwrite_init(&w, fd);
    ggufwrite_u32(&w, "key", 1);
    CHECK_INT(ggufwrite_begin(&w, &err), 0);
    CHECK_INT(ggufwrite_end(&w, &err), LLMOS_EIO);
    CHECK_CONTAINS(err.text, "cannot write the model file: 64 bytes behind 0: No space left");
    ggufwrite_fini(&w);
    close(fd);
}

TEST(ggufwrite_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        struct synth_options o = MODELFILE_SMALL;
        int fd = memfd_create("model", MFD_CLOEXEC);
        int rc = synth_write(fd, &o, NULL);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        close(fd);
    }
}
