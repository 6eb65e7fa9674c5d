/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "model/quantize.h"
#include "modelfile.h"

#define MODEL                                                         \
    {                                                                 \
        3, 256, 4, 2, 512, 320, 64, DTYPE_F32, 5, false, false, false \
    }

struct source {
    unsigned char *bytes;
    size_t n;
    struct gguf g;
};

static struct source source_of(const struct synth_options *o)
{
    struct source s;

    s.bytes = modelfile_bytes(modelfile_synth(o), &s.n);
    CHECK_INT(gguf_parse(&s.g, s.bytes, s.n, NULL), 0);
    return s;
}

static void source_free(struct source *s)
{
    gguf_fini(&s->g);
    free(s->bytes);
}

struct seen {
    size_t tensors, changed, important;
    double rms;
};

static int see(void *arg, const struct quantize_result *r)
{
    struct seen *s = arg;

    s->tensors++;
    s->changed += !r->is_copy;
    s->important += r->has_importance;
    s->rms = fmax(s->rms, r->rms);
    return 0;
}

static int quantize(const struct gguf *g, struct quantize_options o, const char *type,
                    unsigned threads, int fd, struct llmos_error *err)
{
    int rc;

    CHECK_INT(mix_by_name(&o.mix, str_of(type), NULL), 0);
    CHECK_INT(pool_create(&o.pool, threads, NULL), 0);
    rc = quantize_write(fd, g, &o, err);
    pool_destroy(o.pool);
    return rc;
}

static struct source quantized(const struct gguf *g, struct quantize_options o, const char *type,
                               unsigned threads)
{
    int fd = modelfile_fd("", 0);
    struct llmos_error err = {0};
    struct source s;

    if (quantize(g, o, type, threads, fd, &err) < 0)
        TEST_FAIL("%s", err.text);
    s.bytes = modelfile_bytes(fd, &s.n);
    CHECK_INT(gguf_parse(&s.g, s.bytes, s.n, NULL), 0);
    return s;
}

static int type_of(const struct source *s, const char *name)
{
    return gguf_find_tensor(&s->g, name)->dtype;
}

TEST(every_mix_makes_a_model_that_opens)
{
    const struct synth_options options = MODEL;
    struct source from = source_of(&options);

    for (unsigned i = 0; mix_at(i); i++) {
        struct seen seen = {0};
        struct source to = quantized(&from.g, (struct quantize_options){.done = see, .arg = &seen},
                                     mix_at(i)->name, 2);
        struct llmos_error err = {0};
        llmos_model *m = modelfile_open(to.bytes, to.n, &err);
        uint64_t type = 0;

        if (!m)
            TEST_FAIL("%s: %s", mix_at(i)->name, err.text);
        CHECK_INT(gguf_get_u64(&to.g, "general.file_type", 0, 100, &type, NULL), 1);
        CHECK_INT(type, mix_at(i)->file_type);
        CHECK_INT(seen.tensors, from.g.tensor_count);
        CHECK(seen.rms < 0.9);
        CHECK(mix_at(i)->type == DTYPE_F32 ? seen.changed == 0 : seen.changed > 10);
        llmos_model_close(m);
        source_free(&to);
    }
    source_free(&from);
}

TEST(keys_and_what_does_not_change_are_copied)
{
    const struct synth_options options = MODEL;
    struct source from = source_of(&options);
    struct source to = quantized(&from.g, (struct quantize_options){.done = NULL}, "F32", 1);

    for (size_t i = 0; i < from.g.tensor_count; i++) {
        const struct gguf_tensor *a = &from.g.tensors[i], *b = &to.g.tensors[i];

        CHECK(str_eq(a->name, b->name) && a->bytes == b->bytes);
        CHECK(memcmp(a->t.data, b->t.data, a->bytes) == 0);
    }
    for (size_t i = 0; i < from.g.value_count; i++) {
        char key[128];
        const struct gguf_value *a = &from.g.values[i], *b;

        snprintf(key, sizeof(key), "%.*s", STR_ARG(a->key));
        b = gguf_find(&to.g, key);
        CHECK(b && a->type == b->type);
        if (a->type == GGUF_STRING)
            CHECK(str_eq(a->s, b->s));
        else if (a->type == GGUF_ARRAY && a->a.type == GGUF_STRING)
            for (uint64_t k = 0; k < a->a.count; k++)
                CHECK(str_eq(gguf_array_str(&a->a, k), gguf_array_str(&b->a, k)));
        else if (a->type != GGUF_ARRAY && !str_is(a->key, "general.file_type"))
            CHECK(a->u == b->u);
    }
    source_free(&to);
    source_free(&from);
}

TEST(threads_do_not_change_the_bytes)
{
    const struct synth_options options = MODEL;
    struct source from = source_of(&options);
    struct source one = quantized(&from.g, (struct quantize_options){.done = NULL}, "Q4_K_M", 1);
    struct source four = quantized(&from.g, (struct quantize_options){.done = NULL}, "Q4_K_M", 4);

    CHECK(one.n == four.n && memcmp(one.bytes, four.bytes, one.n) == 0);
    CHECK_INT(type_of(&one, "blk.0.attn_q.weight"), DTYPE_Q4_K);
    CHECK_INT(type_of(&one, "output.weight"), DTYPE_Q6_K);
    source_free(&one);
    source_free(&four);
    source_free(&from);
}

/* Sum of squared errors of a column. */
static double column_error(const struct source *a, const struct source *b, const char *name,
                           size_t column)
{
    const struct gguf_tensor *x = gguf_find_tensor(&a->g, name), *y = gguf_find_tensor(&b->g, name);
    float v[256], w[256];
    double sum = 0;

    for (size_t r = 0; r < x->t.shape[1]; r++) {
        dtype_info(x->t.type)->to_f32(tensor_row(&x->t, r), v, 256);
        dtype_info(y->t.type)->to_f32(tensor_row(&y->t, r), w, 256);
        sum += pow((double)v[column] - (double)w[column], 2);
    }
    return sum;
}

TEST(important_columns_err_less)
{
    static const char *const mixes[] = {"Q4_K_S", "Q2_K", "Q3_K_S", "IQ4_XS", "Q4_0", "Q5_1"};
    const struct synth_options options = MODEL;
    struct source from = source_of(&options);
    float values[256];
    struct imatrix_entry e = {STR("blk.1.attn_q.weight"), 256, values};
    uint32_t index[1] = {0};
    struct imatrix im = {.entries = &e, .entry_count = 1, .index = index};

    for (int i = 0; i < 256; i++)
        values[i] = i % 32 == 7 ? 100 : 0.5f;
    for (size_t i = 0; i < sizeof(mixes) / sizeof(*mixes); i++) {
        struct seen seen = {0};
        struct source plain =
            quantized(&from.g, (struct quantize_options){.done = NULL}, mixes[i], 1);
        struct source by =
            quantized(&from.g, (struct quantize_options){.imatrix = &im, .done = see, .arg = &seen},
                      mixes[i], 1);
        double before = column_error(&from, &plain, "blk.1.attn_q.weight", 7);
        double after = column_error(&from, &by, "blk.1.attn_q.weight", 7);

        CHECK_INT(seen.important, 1);
        if (!(after < 0.9 * before))
            TEST_FAIL("%s: %g without importance, %g with", mixes[i], before, after);
        source_free(&plain);
        source_free(&by);
    }
    source_free(&from);
}

static int stop(void *arg, uint64_t done, uint64_t total)
{
    CHECK(done <= total);
    *(int *)arg += 1;
    return LLMOS_ECANCELED;
}

TEST(what_cannot_be_made_is_told)
{
    struct synth_options options = MODEL;
    struct source from = source_of(&options), small;
    float values[3] = {1, 2, 3};
    struct imatrix_entry e = {STR("blk.1.attn_q.weight"), 3, values};
    uint32_t index[1] = {0};
    struct imatrix im = {.entries = &e, .entry_count = 1, .index = index};
    int fd = modelfile_fd("", 0), calls = 0;
    struct llmos_error err;

    small = quantized(&from.g, (struct quantize_options){.done = NULL}, "Q8_0", 1);
    CHECK_INT(quantize(&small.g, (struct quantize_options){.done = NULL}, "Q4_0", 1, fd, &err),
              LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "is q8_0 already");
    CHECK_INT(
        quantize(&small.g, (struct quantize_options){.requantize = true}, "Q4_0", 1, fd, &err), 0);
    CHECK_INT(quantize(&from.g, (struct quantize_options){.imatrix = &im}, "Q4_0", 1, fd, &err),
              LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "they are of another model");
    CHECK_INT(quantize(&from.g, (struct quantize_options){.progress = stop, .arg = &calls}, "Q4_0",
                       1, fd, &err),
              LLMOS_ECANCELED);
    CHECK_INT(calls, 1);
    ((float *)(uintptr_t)gguf_find_tensor(&from.g, "blk.1.ffn_up.weight")->t.data)[77] = INFINITY;
    CHECK_INT(quantize(&from.g, (struct quantize_options){.done = NULL}, "Q4_0", 1, fd, &err),
              LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "tensor 'blk.1.ffn_up.weight' has values that are not numbers");
    close(fd);
    source_free(&small);
    source_free(&from);
}

/* A part would lose the keys that say so. */
TEST(a_part_of_a_model_is_no_model)
{
    int fd = modelfile_fd("", 0);
    struct llmos_error err = {0};
    struct ggufwrite w;
    struct source s;

    ggufwrite_init(&w, fd);
    ggufwrite_u32(&w, "split.no", 1);
    ggufwrite_u32(&w, "split.count", 3);
    ggufwrite_tensor(&w, "a.weight", DTYPE_F32, (uint64_t[]){32, 2}, 2);
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_values(&w, (float[64]){1}, 64, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    s.bytes = modelfile_bytes(fd, &s.n);
    CHECK_INT(gguf_parse(&s.g, s.bytes, s.n, NULL), 0);
    fd = modelfile_fd("", 0);
    CHECK_INT(quantize(&s.g, (struct quantize_options){.done = NULL}, "Q4_0", 1, fd, &err),
              LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "the file is part 2 of 3 of a model");
    CHECK(!modelfile_open(s.bytes, s.n, &err));
    CHECK_CONTAINS(err.text, "NAME-00002-of-00003.gguf");
    close(fd);
    source_free(&s);
}

TEST(quantize_survives_every_failed_allocation)
{
    const struct synth_options options = MODELFILE_SMALL;
    struct source from = source_of(&options);

    for (unsigned long n = 1;; n++) {
        struct quantize_options o = {.done = NULL};
        int fd = modelfile_fd("", 0), rc;

        CHECK_INT(mix_by_name(&o.mix, STR("Q8_0"), NULL), 0);
        CHECK_INT(pool_create(&o.pool, 1, NULL), 0);
        mem_fail_at(n);
        rc = quantize_write(fd, &from.g, &o, NULL);
        pool_destroy(o.pool);
        close(fd);
        if (!mem_failed()) {
            CHECK_INT(rc, 0);
            break;
        }
        CHECK_INT(rc, LLMOS_ENOMEM);
    }
    mem_fail_at(0);
    source_free(&from);
}
