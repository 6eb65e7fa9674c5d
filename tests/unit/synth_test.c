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

        CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
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

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
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
}

TEST(synth_lists_the_shapes_and_types_there_are)
{
    struct synth_options o;
    struct llmos_error err = {0};

    CHECK_INT(synth_shape(&o, "7b", &err), LLMOS_EINVAL);
    CHECK_STR(err.text, "there is no shape '7b'; there are tiny, 135m, 0.5b, 1b");
    CHECK_INT(synth_type(&o, "q3_x", &err), LLMOS_EINVAL);
    CHECK(strstr(err.text, "there is no type 'q3_x'; there are q4_k_m, f32, f16"));
    CHECK_INT(synth_type(&o, "q8_0", NULL), 0);
    CHECK(o.type == DTYPE_Q8_0 && !o.k_mix);
    CHECK_INT(synth_type(&o, "q6_k", NULL), 0);
    CHECK(o.type == DTYPE_Q6_K && !o.k_mix);
    CHECK_INT(synth_type(&o, "q4_k_m", NULL), 0);
    CHECK(o.k_mix);
}

/* What llama.cpp's quantiser says of a model with 16 layers: more bits in 0, 1, 4, 7, 10, 13, 14
 * and 15. */
TEST(synth_mixes_types_as_llama_cpp_does)
{
    const uint32_t more = 1u << 0 | 1u << 1 | 1u << 4 | 1u << 7 | 1u << 10 | 7u << 13;
    struct synth_options o = {.layers = 16, .tied_output = true, .k_mix = true};

    for (uint32_t l = 0; l < 16; l++) {
        enum dtype wanted = more >> l & 1 ? DTYPE_Q6_K : DTYPE_Q4_K;

        CHECK_INT(synth_mix(&o, "blk.0.attn_v.weight", l, 2048), wanted);
        CHECK_INT(synth_mix(&o, "blk.0.ffn_down.weight", l, 8192), wanted);
        CHECK_INT(synth_mix(&o, "blk.0.attn_q.weight", l, 2048), DTYPE_Q4_K);
        CHECK_INT(synth_mix(&o, "blk.0.ffn_up.weight", l, 576), DTYPE_Q5_0);
        CHECK_INT(synth_mix(&o, "blk.0.attn_v.weight", l, 576),
                  more >> l & 1 ? DTYPE_Q8_0 : DTYPE_Q5_0);
    }
    CHECK_INT(synth_mix(&o, "token_embd.weight", 0, 2048), DTYPE_Q6_K);
    CHECK_INT(synth_mix(&o, "token_embd.weight", 0, 896), DTYPE_Q8_0);
    o.tied_output = false;
    CHECK_INT(synth_mix(&o, "token_embd.weight", 0, 2048), DTYPE_Q4_K);
    CHECK_INT(synth_mix(&o, "output.weight", 0, 2048), DTYPE_Q6_K);
}

static bool count_call(void *cookie, uint64_t done, uint64_t total)
{
    uint64_t *last = cookie;

    CHECK(done >= *last && done <= total);
    *last = done;
    return true;
}

static bool stop_call(void *cookie, uint64_t done, uint64_t total)
{
    return done > total && cookie; /* never */
}

TEST(synth_stops_when_nobody_wants_more)
{
    struct synth_options o;
    struct llmos_error err;
    int fd = memfd_create("model", MFD_CLOEXEC);

    CHECK_INT(synth_shape(&o, "135m", NULL), 0);
    o.progress = stop_call;
    CHECK_INT(synth_write(fd, &o, &err), LLMOS_ECANCELED);
    CHECK(lseek(fd, 0, SEEK_END) < 16 << 20);
    close(fd);
}

TEST(synth_writes_a_mixed_model_that_opens)
{
    struct synth_options o = {8,          320, 5,    5,     512,   2000, 64,
                              DTYPE_Q4_K, 11,  true, false, false, true};
    uint64_t last = 0;
    llmos_model *m;

    o.progress = count_call;
    o.cookie = &last;
    m = modelfile_open_synth(&o);
    CHECK(last > 0);
    CHECK_INT(weights_get(&m->weights, 0, WEIGHT_V)->type, DTYPE_Q8_0);
    CHECK_INT(weights_get(&m->weights, 1, WEIGHT_V)->type, DTYPE_Q5_0);
    CHECK_INT(weights_get(&m->weights, 0, WEIGHT_DOWN)->type, DTYPE_Q6_K);
    CHECK_INT(weights_get(&m->weights, 1, WEIGHT_DOWN)->type, DTYPE_Q4_K);
    llmos_model_close(m);
}

TEST(synth_pieces_can_be_made_by_merging)
{
    struct synth_options o;
    llmos_model *m;
    const llmos_tokenizer *t;
    int whole = 0;

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
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
