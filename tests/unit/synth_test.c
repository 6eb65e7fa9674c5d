/* SPDX-License-Identifier: Apache-2.0 */
/* synth_test.c - synthetic models are models. */
#include "test.h"

#include "model/loaded.h"
#include "modelfile.h"

TEST(synth_writes_a_model_of_every_type_that_opens)
{
    for (int type = 0; type < DTYPE_COUNT; type++) {
        struct synth_options o;
        struct llmos_model_info info;
        llmos_model *m;

        CHECK(synth_shape(&o, "tiny"));
        o.type = type;
        o.width = dtype_info((enum dtype)type)->block == K_BLOCK ? K_BLOCK : 64;
        o.hidden = 2 * o.width;
        o.tied_output = type % 2;
        m = modelfile_open_synth(&o);
        llmos_model_info(m, &info);
        CHECK_STR(info.file_type, dtype_info(type)->name);
        CHECK_INT(info.layers, 2);
        CHECK_INT(info.width, o.width);
        CHECK_INT(info.vocabulary, 320);
        llmos_model_close(m);
    }
}

TEST(synth_writes_the_same_bytes_for_the_same_seed_only)
{
    struct synth_options o = MODELFILE_SMALL;
    size_t n, m;
    unsigned char *a = modelfile_bytes(modelfile_synth(&o), &n);
    unsigned char *b = modelfile_bytes(modelfile_synth(&o), &m);

    CHECK(n == m && memcmp(a, b, n) == 0);
    free(b);
    o.seed++;
    b = modelfile_bytes(modelfile_synth(&o), &m);
    CHECK(n == m && memcmp(a, b, n) != 0);
    free(a);
    free(b);
}

TEST(synth_scales_weights_by_their_width)
{
    struct synth_options o;
    llmos_model *m;
    const struct tensor *t;
    double sum = 0;

    CHECK(synth_shape(&o, "tiny"));
    m = modelfile_open_synth(&o);
    t = weights_get(&m->weights, 1, WEIGHT_GATE);
    for (size_t r = 0; r < t->shape[1]; r++)
        for (size_t i = 0; i < t->shape[0]; i++) {
            double x = (double)((const float *)tensor_row(t, r))[i];

            sum += x * x;
        }
    /* 64 products of variance 1/64 each */
    CHECK_NEAR(sum / (double)t->shape[1], 1, 0.1);
    llmos_model_close(m);
}

TEST(synth_makes_tensors_larger_than_its_pool)
{
    struct synth_options o = {1, 128, 4, 2, 128, 20000, 64, DTYPE_Q8_0, 3, true, false, false};
    llmos_model *m = modelfile_open_synth(&o); /* an embedding of 2.56 million values */
    const struct tensor *t = m->weights.model[WEIGHT_EMBED];
    size_t equal = 0;

    CHECK_INT(t->shape[1], 20000);
    for (size_t r = 1; r < t->shape[1]; r++)
        equal += memcmp(tensor_row(t, r), tensor_row(t, r - 1), t->row_bytes) == 0;
    CHECK(equal < 10);
    llmos_model_close(m);
}

TEST(synth_refuses_sizes_that_do_not_fit)
{
    static const struct synth_options bad[] = {
        {0, 64, 4, 2, 128, 320, 64, DTYPE_F32, 1, false, false, false},
        {1, 64, 0, 2, 128, 320, 64, DTYPE_F32, 1, false, false, false},
        {1, 64, 4, 0, 128, 320, 64, DTYPE_F32, 1, false, false, false},
        {1, 64, 4, 3, 128, 320, 64, DTYPE_F32, 1, false, false, false},
        {1, 65, 4, 2, 128, 320, 64, DTYPE_F32, 1, false, false, false},
        {1, 12, 4, 2, 128, 320, 64, DTYPE_F32, 1, false, false, false},
        {1, 48, 4, 2, 128, 320, 64, DTYPE_Q8_0, 1, false, false, false},
        {1, 64, 4, 2, 100, 320, 64, DTYPE_Q4_0, 1, false, false, false},
        {1, 64, 4, 2, 128, 285, 64, DTYPE_F32, 1, false, false, false},
        {1, 64, 4, 2, 128, 320, 0, DTYPE_F32, 1, false, false, false},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct llmos_error err = {0};

        CHECK_INT(synth_write(-1, &bad[i], &err), LLMOS_EINVAL);
        CHECK(err.text[0]);
    }
    CHECK(!synth_shape(&(struct synth_options){0}, "7b"));
}

TEST(synth_pieces_can_be_made_by_merging)
{
    struct synth_options o;
    llmos_model *m;
    const llmos_tokenizer *t;
    int whole = 0;

    CHECK(synth_shape(&o, "tiny"));
    o.vocabulary = 600;
    m = modelfile_open_synth(&o);
    t = llmos_model_tokenizer(m);
    for (int32_t id = 259; id < 259 + 82; id++) {
        const char *piece;
        size_t n = llmos_token_piece(t, id, false, &piece);
        int32_t got[8];
        long count;

        /* The leading space that is put in front is the piece's own. */
        if (*piece != ' ' || n < 2)
            continue;
        count = llmos_tokenize(t, piece + 1, n - 1, 0, got, 8, NULL);
        if (count != 1 || got[0] != id)
            TEST_FAIL("'%.*s' has %ld tokens", (int)n, piece, count);
        whole++;
    }
    CHECK(whole > 25);
    llmos_model_close(m);
}
