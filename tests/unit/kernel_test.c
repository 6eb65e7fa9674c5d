/* SPDX-License-Identifier: Apache-2.0 */
/* Every backend that this processor can run, against the reference. */
#include "test.h"

#include "backends.h"
#include "blocks.h"

#include "base/mem.h"
#include "tensor/backend.h"
#include "tensor/iquant.h"
#include "tensor/step.h"

#include <float.h>

static uint32_t state = 1;

static float uniform(void) /* [-1, 1) */
{
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state * 0x1p-31f;
}

static void fill(float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = uniform() * scale;
}

/* A weight matrix that begins at an odd multiple of its element and ends where its memory ends, so
 * that reads outside are caught by a sanitizer; the activations behind it. */
struct problem {
    struct tensor w;
    size_t inner, rows, n;
    char *weights; /* owned */
    float *x;      /* owned: [n][inner] */
};

/* The types that name points of a lattice are slow to make: their rows are put together of a few
 * blocks. */
#define FEW 8

static void quantise(enum dtype type, const float *x, char *out, size_t n)
{
    static char few[DTYPE_COUNT][FEW][K_BLOCK];
    static bool has_few[DTYPE_COUNT];
    const struct dtype_info *info = dtype_info(type);

    if (type < DTYPE_IQ1_S) {
        info->from_f32(x, NULL, out, n);
        return;
    }
    for (size_t k = 0; k < FEW && !has_few[type]; k++) {
        float values[K_BLOCK];

        fill(values, K_BLOCK, 1);
        info->from_f32(values, NULL, few[type][k], K_BLOCK);
    }
    has_few[type] = true;
    for (size_t b = 0; b < n / K_BLOCK; b++)
        memcpy(out + b * info->block_bytes, few[type][(b + (size_t)fabsf(x[0] * 1000)) % FEW],
               info->block_bytes);
}

static struct problem problem_make(enum dtype type, size_t inner, size_t rows, size_t n)
{
    struct problem p = {.inner = inner, .rows = rows, .n = n};
    size_t row_bytes = dtype_row_bytes(type, inner);
    float *row = malloc(inner * sizeof(float) + 1);

    p.weights = malloc(4 + row_bytes * rows);
    p.x = malloc(n * inner * sizeof(float) + 1);
    CHECK(row && p.weights && p.x);
    for (size_t r = 0; r < rows; r++) {
        fill(row, inner, 1);
        quantise(type, row, p.weights + 4 + r * row_bytes, inner);
    }
    fill(p.x, n * inner, 2);
    free(row);
    p.w = (struct tensor){.type = type,
                          .n_dims = 2,
                          .shape = {inner, rows, 1, 1},
                          .row_bytes = row_bytes,
                          .data = p.weights + 4};
    return p;
}

static void problem_free(struct problem *p)
{
    free(p->weights);
    free(p->x);
}

/* out[n][rows] of the vectors [t, t + n), rows [begin, end); the rest of out is left alone. */
static void multiply(const struct backend *b, const struct problem *p, size_t t, size_t n,
                     size_t begin, size_t end, float *out)
{
    size_t bytes = b->prepared_bytes(p->w.type, p->inner);
    char *prepared = mem_aligned(bytes * n);

    CHECK(prepared && bytes % 64 == 0);
    for (size_t i = 0; i < n; i++)
        b->prepare(p->w.type, p->x + (t + i) * p->inner, p->inner, prepared + i * bytes);
    b->matmul(&p->w, begin, end, prepared, n, out, p->rows);
    mem_free(prepared);
}

static bool same_number(float a, float b, float tolerance)
{
    if (isnan(a) || isnan(b) || isinf(a) || isinf(b))
        return (isnan(a) && isnan(b)) || a == b;
    return fabsf(a - b) <= tolerance;
}

static const size_t float_inners[] = {1, 2, 7, 15, 16, 17, 31, 33, 64, 100, 1023, 1024, 1025, 2100};
static const size_t quant_inners[] = {32, 64, 96, 480, 512, 544, 1056, 1088, 1120};
static const size_t super_inners[] = {256, 512, 768, 1280};
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static bool is_quantised(enum dtype t)
{
    return dtype_info(t)->block > 1;
}

static size_t inner_of(enum dtype type, size_t i) /* 0: no more */
{
    if (dtype_info(type)->block == K_BLOCK)
        return i < COUNT(super_inners) ? super_inners[i] : 0;
    if (is_quantised(type))
        return i < COUNT(quant_inners) ? quant_inners[i] : 0;
    return i < COUNT(float_inners) ? float_inners[i] : 0;
}

/* At least n, where the type has it. */
static size_t inner_near(enum dtype type, size_t n)
{
    size_t block = dtype_info(type)->block;

    return (n + block - 1) / block * block;
}

/* Sums of what `product` makes of each weight and its activation. */
static void multiply_by(double (*product)(float w, float x), const struct problem *p, float *out)
{
    float *w = malloc(p->inner * sizeof(float) + 1);

    CHECK(w);
    for (size_t r = 0; r < p->rows; r++) {
        dtype_info(p->w.type)->to_f32(tensor_row(&p->w, r), w, p->inner);
        for (size_t t = 0; t < p->n; t++) {
            double sum = 0;

            for (size_t i = 0; i < p->inner; i++)
                sum += product(w[i], p->x[t * p->inner + i]);
            out[t * p->rows + r] = (float)sum;
        }
    }
    free(w);
}

static double exact(float w, float x)
{
    return (double)w * (double)x;
}

/* Its upper half, rounded: halves to even, or else up. */
static float to_bf16(float f, bool halves_up)
{
    uint32_t bits;

    if (!halves_up || isnan(f))
        return bf16_to_f32(f32_to_bf16(f));
    memcpy(&bits, &f, sizeof(bits));
    return bf16_to_f32((uint16_t)((bits + 0x8000) >> 16));
}

/* Both rounded to bf16. */
static double rounded(float w, float x)
{
    return exact(to_bf16(w, true), to_bf16(x, false));
}

/* Both rounded to the sum of two, of which the product of the smaller parts is left out. */
static double split(float w, float x)
{
    float w_high = to_bf16(w, true), x_high = to_bf16(x, false);

    return exact(w_high, x_high) + exact(w_high, to_bf16(x - x_high, false)) +
           exact(w - w_high, x_high);
}

/* NaN counts as infinity. */
static float most_of(const float *x, size_t n)
{
    float most = 0;

    for (size_t i = 0; i < n; i++)
        most = isnan(x[i]) ? INFINITY : fmaxf(most, fabsf(x[i]));
    return most;
}

/* A step that is 0 where activations with that largest magnitude are zeros, NAN where they are no
 * numbers. */
static float step_or_none(float most, float step)
{
    if (most >= STEP_LEAST && most < STEP_MOST)
        return step;
    return most < STEP_LEAST ? 0 : NAN;
}

/* The step of n activations that share one. */
static float step_of(const float *x, size_t n)
{
    float most = most_of(x, n);
    struct step step = step_for(most);

    return step_or_none(most, step.power * step_factors[step.factor]);
}

/* That of a block of which no two neighbours of one sign are to be more than 127 steps together. */
static float step_of_neighbours(const float *x)
{
    float most = most_of(x, Q_BLOCK);

    for (size_t i = 0; i < Q_BLOCK; i += 2)
        if (isfinite(most))
            most = fmaxf(most, fabsf(x[i] + x[i + 1]));
    return step_or_none(most, most / 127);
}

/* Activations rounded to 8 bits by blocks. */
static void multiply_rounded(enum form form, const struct problem *p, float *out)
{
    struct problem q = *p;

    q.x = malloc(p->n * p->inner * sizeof(float) + 1);
    CHECK(q.x);
    for (size_t i = 0; i < p->n * p->inner; i++) {
        const float *block = p->x + i / Q_BLOCK * Q_BLOCK;
        float step = form == FORM_NEIGHBOURS ? step_of_neighbours(block) : step_of(block, Q_BLOCK);

        q.x[i] = step == 0 ? 0 : rintf(p->x[i] * (1 / step)) * step;
    }
    multiply_by(exact, &q, out);
    free(q.x);
}

/* What a back end's products must be near to. */
static void multiply_for(const struct backend *b, const struct problem *p, float *out)
{
    enum form form = b->prepared_form(p->w.type);

    if (backend_has_tiles(b, p->w.type))
        multiply_by(p->w.type == DTYPE_F16 ? split : rounded, p, out);
    else if (form == FORM_FIXED || form == FORM_SPANS)
        multiply_by(exact, p, out);
    else if (form != backend_ref.prepared_form(p->w.type))
        multiply_rounded(form, p, out);
    else
        multiply(&backend_ref, p, 0, p->n, 0, p->rows, out);
}

#define SPAN 128 /* kernel_spans.h */

/* Where the quants of a super-block lie. */
static void quants_at(enum dtype type, size_t *begin, size_t *end)
{
    static const size_t at[DTYPE_COUNT][2] = {
        [DTYPE_Q2_K] = {16, 80},  [DTYPE_Q3_K] = {0, 96},  [DTYPE_Q4_K] = {16, 144},
        [DTYPE_Q5_K] = {16, 176}, [DTYPE_Q6_K] = {0, 192}, [DTYPE_IQ4_XS] = {8, 136},
        [DTYPE_TQ1_0] = {0, 52},  [DTYPE_TQ2_0] = {0, 64},
    };

    *begin = at[type][0];
    *end = at[type][1];
}

/* Of a row of points, the largest magnitude in each span, whatever its points. */
static void largest_of_points(const struct tensor *w, size_t row, float *largest)
{
    const size_t block_bytes = dtype_info(w->type)->block_bytes;
    struct iquant_levels levels;
    struct iquant_places places;
    float most = 0;

    iquant_levels(w->type, &levels);
    for (size_t i = 0; i < COUNT(levels.level); i++)
        most = fmaxf(most, fabsf((float)levels.level[i]));
    for (size_t i = 0; i < w->shape[0]; i += 16) {
        const char *block = (const char *)tensor_row(w, row) + i / K_BLOCK * block_bytes;
        float *to = &largest[i / SPAN], here;

        iquant_places(w->type, block, &places);
        here = fabsf(f16_to_f32(places.d)) * levels.factor * most *
               (float)(2 * places.scale[i % K_BLOCK / 16] + 1);
        if (!(here <= *to)) /* NaN stays */
            *to = here;
    }
}

/* The largest magnitude in each span of a row, whatever its quants. */
static void largest_of_spans(const struct problem *p, size_t row, float *largest)
{
    const struct dtype_info *type = dtype_info(p->w.type);
    float *w = malloc(p->inner * sizeof(float));
    char *bytes = malloc(p->w.row_bytes);
    size_t begin, end;

    CHECK(w && bytes);
    memset(largest, 0, p->inner / SPAN * sizeof(float));
    if (p->w.type >= DTYPE_IQ1_S)
        largest_of_points(&p->w, row, largest);
    quants_at(p->w.type, &begin, &end);
    for (int quants = 0; quants <= 0xff; quants += 0xff) {
        memcpy(bytes, tensor_row(&p->w, row), p->w.row_bytes);
        for (size_t at = 0; at < p->w.row_bytes; at += type->block_bytes)
            memset(bytes + at + begin, quants, end - begin);
        type->to_f32(bytes, w, p->inner);
        for (size_t i = 0; i < p->inner; i++)
            if (!(fabsf(w[i]) <= largest[i / SPAN])) /* NaN stays */
                largest[i / SPAN] = fabsf(w[i]);
    }
    free(bytes);
    free(w);
}

/* How far off each result may be where weights and activations are rounded by spans: by half a step
 * of either times the other; what rounds weights has 8 bits behind the point, and may be off by a
 * quarter more. */
static float *rounding_by_spans(const struct backend *b, const struct problem *p)
{
    float *off = calloc(p->n * p->rows + 1, sizeof(float));
    float *w = malloc(p->inner * sizeof(float) + 1), largest[64];

    CHECK(off && w);
    for (size_t r = 0; r < p->rows && b->prepared_form(p->w.type) == FORM_SPANS; r++) {
        CHECK(p->inner / SPAN <= COUNT(largest));
        largest_of_spans(p, r, largest);
        dtype_info(p->w.type)->to_f32(tensor_row(&p->w, r), w, p->inner);
        for (size_t t = 0; t < p->n; t++) {
            const float *x = p->x + t * p->inner;
            float sum = 0, step = 0;

            for (size_t i = 0; i < p->inner; i++) {
                step = i % SPAN == 0 ? step_of(x + i, SPAN) : step;
                if (!(step > 0)) /* all is lost */
                    step = 2 * most_of(x + i / SPAN * SPAN, SPAN);
                sum += fabsf(w[i]) * step / 2 +
                       largest[i / SPAN] / 127 * 0.76f * (fabsf(x[i]) + step / 2);
            }
            off[t * p->rows + r] = sum * 1.0001f;
        }
    }
    free(w);
    return off;
}

/* With AVX-512 the minima of these types meet sums of x rounded to 13 bits of the largest of eight:
 * half a unit is 2^-14 of a sum of up to 10, times a minimum of up to 2, and eight times in 256. */
static float rounding_of_sums(const struct backend *b, enum dtype type, size_t inner)
{
    bool has_512 = backend_reads_packed(b, DTYPE_BF16);
    bool is_rounded =
        has_512 && b->prepared_form(type) == FORM_Q8 && (type == DTYPE_Q4_K || type == DTYPE_Q5_K);

    return is_rounded ? 0x1p-11f * sqrtf((float)inner) : 0;
}

/* The last bit of a weight of f32 may decide to which bf16 it is rounded, in one of 2^16 cases;
 * floats lose what is far below the largest of their block (packed.h, fixed.h). */
static float rounding_of_weights(const struct backend *b, enum dtype type, size_t inner)
{
    bool loses = type == DTYPE_F16 || type == DTYPE_BF16;

    if (!backend_has_tiles(b, type))
        return 0;
    return loses ? 0x1p-12f * sqrtf((float)inner) : 0x1p-14f;
}

/* Half a step of w and one of x are 2^-14 and 2^-13 at most, times 2 and 1. */
static float rounding_to_words(const struct backend *b, enum dtype type, size_t inner)
{
    return b->prepared_form(type) == FORM_FIXED ? 0x1p-12f * sqrtf((float)inner) : 0;
}

static void compare(const struct backend *b, const struct problem *p)
{
    float *expected = malloc(p->n * p->rows * sizeof(float));
    float *out = malloc(p->n * p->rows * sizeof(float));
    float *off = rounding_by_spans(b, p);

    CHECK(expected && out);
    multiply_for(b, p, expected);
    multiply(b, p, 0, p->n, 0, p->rows, out);
    for (size_t i = 0; i < p->n * p->rows; i++) {
        /* Products are below 2 and random in sign; an f32 sum of them errs by a few last places of
         * its largest part. */
        float tolerance = 4e-7f * sqrtf((float)p->inner) * 2 + 1e-6f * fabsf(expected[i]);

        /* Quants from 0 on and an offset: two sums, each about twice as large, that cancel. */
        if (p->w.type == DTYPE_Q4_1 || p->w.type == DTYPE_Q5_1 || p->w.type == DTYPE_Q4_K)
            tolerance *= 2;
        tolerance += rounding_of_sums(b, p->w.type, p->inner);
        tolerance += rounding_of_weights(b, p->w.type, p->inner);
        tolerance += rounding_to_words(b, p->w.type, p->inner);
        /* Which infinity it was is lost. */
        if (b->prepared_form(p->w.type) >= FORM_FIXED && isnan(out[i]) && isinf(expected[i]))
            continue;
        tolerance += off[i];

        if (!same_number(out[i], expected[i], tolerance))
            TEST_FAIL("%s %s inner %zu rows %zu n %zu: element %zu is %.9g, expected %.9g", b->name,
                      dtype_info(p->w.type)->name, p->inner, p->rows, p->n, i, (double)out[i],
                      (double)expected[i]);
    }
    free(expected);
    free(out);
    free(off);
}

TEST(products_agree_with_the_reference_in_all_shapes)
{
    static const size_t rows[] = {1, 3, 4, 5, 16, 17, 31, 33, 70}, ns[] = {1, 2, 3, 4, 5, 6, 9, 14};

    FOR_EACH_BACKEND(b)
    {
        for (int type = 0; type < DTYPE_COUNT; type++) {
            for (size_t i = 0, inner; (inner = inner_of((enum dtype)type, i)) != 0; i++) {
                struct problem p = problem_make((enum dtype)type, inner, rows[i % COUNT(rows)],
                                                ns[(i + (size_t)type) % COUNT(ns)]);

                compare(b, &p);
                problem_free(&p);
            }
            for (size_t i = 0; i < COUNT(rows); i++) {
                for (size_t k = 0; k < COUNT(ns); k++) {
                    size_t inner = inner_near((enum dtype)type, 64);
                    struct problem p = problem_make((enum dtype)type, inner, rows[i], ns[k]);

                    compare(b, &p);
                    problem_free(&p);
                }
            }
        }
    }
}

/* Blocks of any bits with scales that are small numbers: what no quantiser makes, a file may hold.
 */
static void random_blocks(struct problem *p)
{
    const struct dtype_info *info = dtype_info(p->w.type);
    size_t row_bytes = p->w.row_bytes, blocks = p->rows * row_bytes / info->block_bytes;

    for (size_t b = 0; b < blocks; b++) {
        char *at = p->weights + 4 + b * info->block_bytes;
        uint16_t halves[2] = {f32_to_f16(uniform() * 0.01f), f32_to_f16(uniform() * 0.01f)};

        for (size_t i = 0; i < info->block_bytes; i++)
            at[i] = (char)(uniform() * 128);
        blocks_set_scales(p->w.type, at, halves);
    }
}

#if defined(__x86_64__)
static void same_bits(const struct backend *a, const struct backend *b, const struct problem *p)
{
    size_t bytes = p->rows * p->n * sizeof(float);
    float *expected = malloc(bytes), *out = malloc(bytes);

    CHECK(expected && out);
    multiply(a, p, 0, p->n, 0, p->rows, expected);
    multiply(b, p, 0, p->n, 0, p->rows, out);
    if (memcmp(out, expected, bytes) != 0)
        TEST_FAIL("%s and %s differ in %s, inner %zu, %zu rows, %zu vectors", a->name, b->name,
                  dtype_info(p->w.type)->name, p->inner, p->rows, p->n);
    free(expected);
    free(out);
}

static void same_bits_of_all_types(const struct backend *a, const struct backend *b)
{
    if (!a->usable() || !b->usable())
        SKIP("this processor lacks instructions of one of them");
    for (int type = 0; type < DTYPE_COUNT; type++) {
        for (size_t i = 0, inner; (inner = inner_of((enum dtype)type, i)) != 0; i++) {
            struct problem p = problem_make((enum dtype)type, inner, 40, 70);

            if (a->prepared_form(p.w.type) == b->prepared_form(p.w.type))
                same_bits(a, b, &p);
            problem_free(&p);
        }
    }
}

/* Vectors together give what each gives alone. */
static void same_bits_alone(const struct backend *b, const struct problem *p)
{
    float *all = malloc(p->rows * p->n * sizeof(float)), *one = malloc(p->rows * sizeof(float));

    CHECK(all && one);
    multiply(b, p, 0, p->n, 0, p->rows, all);
    for (size_t t = 0; t < p->n; t++) {
        multiply(b, p, t, 1, 0, p->rows, one);
        if (memcmp(one, all + t * p->rows, p->rows * sizeof(float)) != 0)
            TEST_FAIL("%s %s inner %zu: vector %zu of %zu differs", b->name,
                      dtype_info(p->w.type)->name, p->inner, t, p->n);
    }
    free(all);
    free(one);
}

/* Half of the products or all: the same integers. */
TEST(both_avx512_backends_give_the_same_bits)
{
    same_bits_of_all_types(&backend_avx512vnni, &backend_avx512winograd);
}

TEST(tiles_give_the_same_bits_to_vectors_together_and_alone)
{
    if (!backend_avx512amx.usable())
        SKIP("this processor has no tiles");
    for (int type = 0; type < DTYPE_COUNT; type++) {
        for (size_t i = 0, inner; (inner = inner_of((enum dtype)type, i)) != 0; i++) {
            struct problem p = problem_make((enum dtype)type, inner, 40, 70);

            same_bits_alone(&backend_avx512amx, &p);
            problem_free(&p);
        }
    }
}

/* More rows and vectors than are computed together, whole tiles and not, and numbers so small that
 * steps are the least there are. */
TEST(tiles_give_the_same_bits_in_large_products)
{
    static const enum dtype types[] = {DTYPE_F16,  DTYPE_BF16,   DTYPE_Q8_0,  DTYPE_Q4_0,
                                       DTYPE_Q5_0, DTYPE_IQ4_NL, DTYPE_Q3_K,  DTYPE_Q4_K,
                                       DTYPE_Q5_K, DTYPE_Q6_K,   DTYPE_IQ4_XS};
    static const size_t ns[] = {3, 5, 8, 11, 16, 31, 512, 530, 545};

    if (!backend_avx512amx.usable())
        SKIP("this processor has no tiles");
    for (size_t i = 0; i < COUNT(types); i++) {
        for (size_t k = 0; k < COUNT(ns); k++) {
            size_t inner = inner_near(types[i], 1600); /* three panels and some of a fourth */
            struct problem p = problem_make(types[i], inner, 600, ns[k]);

            if (k % 2)
                random_blocks(&p);
            for (size_t v = 0; v < inner * p.n; v++)
                p.x[v] *= v / inner % 3 == 1 ? STEP_LEAST : v / inner % 5 == 1 ? 0x1p100f : 1;
            p.x[inner * (p.n / 2)] = NAN;
            same_bits_alone(&backend_avx512amx, &p);
            problem_free(&p);
        }
    }
}
#endif

/* They differ in how integers are added only, which is exact. */
TEST(both_arm_backends_give_the_same_bits)
{
#if defined(__aarch64__)
    enum { ROWS = 37, N = 11 };
    float dot[N * ROWS], i8mm[N * ROWS];

    if (!backend_neon_i8mm.usable())
        SKIP("this processor has no i8mm");
    for (int type = 0; type < DTYPE_COUNT; type++) {
        for (size_t i = 0, inner; (inner = inner_of((enum dtype)type, i)) != 0; i++) {
            struct problem p = problem_make((enum dtype)type, inner, ROWS, N);

            for (size_t n = 1; n <= N; n++) {
                multiply(&backend_neon, &p, 0, n, 0, ROWS, dot);
                multiply(&backend_neon_i8mm, &p, 0, n, 0, ROWS, i8mm);
                CHECK(memcmp(dot, i8mm, n * ROWS * sizeof(float)) == 0);
            }
            problem_free(&p);
        }
    }
#else
    SKIP("this is no ARM processor");
#endif
}

/* The promise of backend.h, to the bit. */
TEST(an_element_does_not_depend_on_batch_or_row_range)
{
    enum { ROWS = 75, N = 40 };
    const size_t step = test_is_brief() ? 3 : 1;
    float *whole = malloc(N * ROWS * sizeof(float)), *part = malloc(N * ROWS * sizeof(float));
    static const size_t ranges[][2] = {{0, 1}, {1, 75}, {3, 20}, {16, 32}, {17, 50}, {74, 75}};

    CHECK(whole && part);
    FOR_EACH_BACKEND(b)
    {
        for (int type = 0; type < DTYPE_COUNT; type++) {
            for (size_t i = 0, inner; (inner = inner_of((enum dtype)type, i)) != 0; i++) {
                struct problem p = problem_make((enum dtype)type, inner, ROWS, N);

                multiply(b, &p, 0, N, 0, ROWS, whole);
                for (size_t n = 1 + i % step; n <= N; n += step) {
                    const size_t *range = ranges[(n + i) % COUNT(ranges)];
                    size_t t = (n * 5 + i) % (N - n + 1);

                    multiply(b, &p, t, n, range[0], range[1], part);
                    for (size_t k = 0; k < n; k++)
                        if (memcmp(part + k * ROWS + range[0], whole + (t + k) * ROWS + range[0],
                                   (range[1] - range[0]) * sizeof(float)) != 0)
                            TEST_FAIL("%s %s inner %zu: vector %zu of %zu, rows %zu to %zu differ",
                                      b->name, dtype_info((enum dtype)type)->name, inner, k, n,
                                      range[0], range[1]);
                }
                problem_free(&p);
            }
        }
    }
    free(whole);
    free(part);
}

TEST(only_the_rows_asked_for_are_written)
{
    FOR_EACH_BACKEND(b)
    {
        for (int type = 0; type < DTYPE_COUNT; type++) {
            size_t inner = inner_near((enum dtype)type, 96);
            struct problem p = problem_make((enum dtype)type, inner, 40, 8);
            float out[8 * 40];

            for (size_t n = 1; n <= 8; n++) {
                for (size_t i = 0; i < COUNT(out); i++)
                    out[i] = 12345;
                multiply(b, &p, 0, n, 7, 30, out);
                for (size_t i = 0; i < COUNT(out); i++)
                    CHECK((out[i] == 12345) == (i >= n * 40 || i % 40 < 7 || i % 40 >= 30));
            }
            problem_free(&p);
        }
    }
}

static int sign_of(size_t pattern, size_t i)
{
    static const unsigned minus[] = {0x0, 0xf, 0xa, 0x5, 0xc, 0x3, 0x9, 0x1}; /* of four values */

    return minus[pattern % COUNT(minus)] >> i % 4 & 1 ? -1 : 1;
}

/* One block of whole numbers up to 127, which int8 holds exactly with a scale of 1; else 0. */
static void fill_extreme(struct problem *p, size_t block)
{
    memset(p->x, 0, p->n * p->inner * sizeof(float));
    for (size_t t = 0; t < p->n; t++) {
        for (size_t i = 0; i < Q_BLOCK; i++) {
            bool whole = t < 16 ? i < Q_BLOCK / 2 || t < 8 : i == 7 || uniform() < 0;

            p->x[t * p->inner + block * Q_BLOCK + i] =
                (float)(sign_of(t, i) * (whole ? 127 : (int)(uniform() * 127)));
        }
    }
}

/* Every byte of a row's quants and small scales is the row's number, or for the second half of the
 * rows any; scales are 1, offsets 1 / 2. */
static void fill_bytes(struct problem *p)
{
    const struct dtype_info *info = dtype_info(p->w.type);
    size_t in_row = p->w.row_bytes / info->block_bytes;
    const uint16_t halves[2] = {0x3c00, 0x3800};

    for (size_t b = 0; b < p->rows * in_row; b++) {
        char *at = p->weights + 4 + b * info->block_bytes;
        size_t row = b / in_row;

        for (size_t i = 0; i < info->block_bytes; i++)
            at[i] = (char)(row < 256 ? (float)row : uniform() * 128);
        blocks_set_scales(p->w.type, at, halves);
    }
}

/* Where an instruction that saturates, or a sum that wraps around, would show: all numbers are
 * whole or halves, and below 2^24, so that f32 holds each sum exactly; but for steps of neighbours,
 * which are any number, and what a sum would be off by is a whole number of them. */
TEST(extreme_quants_are_added_exactly)
{
    enum { ROWS = 515, N = 40 };
    const size_t step = test_is_brief() ? 4 : 1;
    float *expected = malloc(N * ROWS * sizeof(float)), *out = malloc(N * ROWS * sizeof(float));

    CHECK(expected && out);
    for (int type = DTYPE_Q8_0; dtype_is_integer((enum dtype)type); type++) {
        struct problem p =
            problem_make((enum dtype)type, inner_near((enum dtype)type, 64), ROWS, N);

        fill_bytes(&p);
        for (size_t block = 0; block < p.inner / Q_BLOCK; block++) {
            fill_extreme(&p, block);
            FOR_EACH_BACKEND(b)
            {
                float *off = rounding_by_spans(b, &p);
                bool is_any = b->prepared_form((enum dtype)type) == FORM_NEIGHBOURS;

                multiply_for(b, &p, expected);
                for (size_t i = 0; i < N * ROWS && is_any; i++)
                    off[i] = 0.5f;
                for (size_t n = 1; n <= N; n = n < 9 ? n + step : n + 31) {
                    for (size_t t = 0; t < N; t += n)
                        multiply(b, &p, t, n < N - t ? n : N - t, 0, ROWS, out + t * ROWS);
                    for (size_t i = 0; i < N * ROWS; i++)
                        if (!(fabsf(out[i] - expected[i]) <= off[i]))
                            TEST_FAIL("%s %s block %zu n %zu: vector %zu row %zu is %.9g, not %.9g",
                                      b->name, dtype_info((enum dtype)type)->name, block, n,
                                      i / ROWS, i % ROWS, (double)out[i], (double)expected[i]);
                }
                free(off);
            }
        }
        problem_free(&p);
    }
    free(expected);
    free(out);
}

TEST(blocks_of_any_bits_are_multiplied_as_they_read)
{
    FOR_EACH_BACKEND(b)
    {
        for (int type = DTYPE_Q8_0; type < DTYPE_COUNT; type++) {
            static const size_t ns[] = {1, 3, 8, 9, 13};

            for (size_t k = 0; k < COUNT(ns); k++) {
                struct problem p = problem_make((enum dtype)type, 512, 37, ns[k]);
                float expected[37 * 13], out[37 * 13], largest = 0;
                float share = rounding_of_sums(b, p.w.type, 512) > 0 ? 2e-5f : 2e-6f, *off;

                if (b->prepared_form(p.w.type) == FORM_FIXED) /* x to 2^-14 */
                    share = 2e-4f;
                random_blocks(&p);
                off = rounding_by_spans(b, &p);
                multiply_for(b, &p, expected);
                multiply(b, &p, 0, p.n, 0, p.rows, out);
                for (size_t i = 0; i < p.n * p.rows; i++)
                    largest = fmaxf(largest, fabsf(expected[i]));
                for (size_t i = 0; i < p.n * p.rows; i++)
                    if (!same_number(out[i], expected[i], share * largest + off[i]))
                        TEST_FAIL("%s %s n %zu: element %zu is %.9g, expected %.9g", b->name,
                                  dtype_info(p.w.type)->name, p.n, i, (double)out[i],
                                  (double)expected[i]);
                free(off);
                problem_free(&p);
            }
        }
    }
}

/* Steps of 127ths of the largest of 128 on both sides: here half a percent each, and more where
 * sixteen weights have much larger scales than the others. */
TEST(rounding_by_spans_is_as_fine_as_it_says)
{
    FOR_EACH_BACKEND(b)
    {
        for (int type = DTYPE_Q8_0; type < DTYPE_COUNT; type++) {
            struct problem p;
            double errors = 0, sizes = 0;
            float *expected, *out;

            if (b->prepared_form((enum dtype)type) != FORM_SPANS)
                continue;
            p = problem_make((enum dtype)type, 2048, 48, 12);
            expected = malloc(p.n * p.rows * sizeof(float));
            out = malloc(p.n * p.rows * sizeof(float));
            CHECK(expected && out);
            multiply_for(b, &p, expected);
            multiply(b, &p, 0, p.n, 0, p.rows, out);
            for (size_t i = 0; i < p.n * p.rows; i++) {
                double size = (double)expected[i], error = (double)out[i] - size;

                errors += error * error;
                sizes += size * size;
            }
            printf("# %s %s: off by %.4f\n", b->name, dtype_info((enum dtype)type)->name,
                   sqrt(errors / sizes));
            CHECK(errors < 0.01 * 0.01 * sizes);
            free(expected);
            free(out);
            problem_free(&p);
        }
    }
}

/* One source compiled for both: with VNNI a block's sum is the same integer, of the same x. */
TEST(avx2_with_vnni_gives_the_same_bits)
{
#if defined(__x86_64__)
    bool has_some = false;

    FOR_EACH_BACKEND(b)
    {
        bool is_vnni = b == &backend_avx2vnni || b == &backend_avx2vnni_evex;

        has_some = has_some || is_vnni;
        for (int type = 0; is_vnni && type < DTYPE_COUNT; type++) {
            struct problem p = problem_make((enum dtype)type, 768, 37, 13);
            float expected[37 * 13], out[37 * 13];

            if (b->prepared_form(p.w.type) != backend_avx2.prepared_form(p.w.type)) {
                problem_free(&p);
                continue;
            }
            if (is_quantised((enum dtype)type))
                random_blocks(&p);
            multiply(&backend_avx2, &p, 0, p.n, 0, p.rows, expected);
            multiply(b, &p, 0, p.n, 0, p.rows, out);
            CHECK(memcmp(out, expected, sizeof(out)) == 0);
            problem_free(&p);
        }
    }
    if (!has_some)
        SKIP("this processor has no VNNI");
#else
    SKIP("there is no AVX2 on this processor");
#endif
}

/* The reference's product of quants is that of the numbers they stand for: with activations that
 * int8 holds exactly, both are the same. */
TEST(the_reference_multiplies_what_the_types_say)
{
    for (int type = DTYPE_Q8_0; type < DTYPE_COUNT; type++) {
        struct problem p = problem_make((enum dtype)type, 512, 20, 2);
        float w[512], out[40];

        random_blocks(&p);
        for (size_t i = 0; i < 2 * 512; i++)
            p.x[i] = i % Q_BLOCK == 5 ? 127 : (float)(int)(uniform() * 127);
        multiply(&backend_ref, &p, 0, 2, 0, 20, out);
        for (size_t r = 0; r < 20; r++) {
            dtype_info((enum dtype)type)->to_f32(tensor_row(&p.w, r), w, 512);
            for (size_t t = 0; t < 2; t++) {
                double sum = 0, size = 0;

                for (size_t i = 0; i < 512; i++) {
                    sum += (double)w[i] * (double)p.x[512 * t + i];
                    size += fabs((double)w[i] * (double)p.x[512 * t + i]);
                }
                CHECK_NEAR((double)out[20 * t + r], sum, 1e-6 * size);
            }
        }
        problem_free(&p);
    }
}

TEST(a_step_is_the_least_of_its_kind_that_holds_127)
{
    for (float most = STEP_LEAST; most < STEP_MOST; most *= 1.001f + fabsf(uniform())) {
        struct step s = step_for(most);
        float step = s.power * step_factors[s.factor];
        int e;

        CHECK_INT(s.factor < STEP_FACTORS && frexpf(s.power, &e) == 0.5f, 1);
        CHECK(most / 127 <= step && step < most / 127 * 1.1893f);
        CHECK(isfinite(0x1.8p+23f * s.power));
    }
    for (int e = -90; e < 100; e++) /* 127 times a power of two: exactly that */
        CHECK_INT(step_for(ldexpf(127, e)).power == ldexpf(1, e) &&
                      step_for(ldexpf(127, e)).factor == 0,
                  1);
}

TEST(activations_beyond_all_steps_are_no_numbers_and_those_below_are_zeros)
{
    FOR_EACH_BACKEND(b)
    {
        for (int type = DTYPE_Q8_0; dtype_is_integer((enum dtype)type); type++) {
            struct problem p = problem_make((enum dtype)type, 512, 20, 3);
            float out[3 * 20];

            if (b->prepared_form((enum dtype)type) >= FORM_FIXED &&
                b->prepared_form((enum dtype)type) != FORM_SPANS) { /* knows no steps */
                problem_free(&p);
                continue;
            }
            p.x[512 + 40] = STEP_MOST;
            for (size_t i = 0; i < 512; i++)
                p.x[2 * 512 + i] = nextafterf(i % 2 ? STEP_LEAST : -STEP_LEAST, 0);
            multiply(b, &p, 0, 3, 0, 20, out);
            for (size_t i = 0; i < 20; i++) {
                CHECK(isfinite(out[i]) && isnan(out[20 + i]));
                CHECK(out[40 + i] == 0);
            }
            problem_free(&p);
        }
    }
}

TEST(activations_with_nan_or_infinity_spoil_their_own_vector_only)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    FOR_EACH_BACKEND(b)
    {
        for (int type = 0; type < DTYPE_COUNT; type++) {
            for (size_t k = 0; k < COUNT(bad); k++) {
                size_t inner = inner_near((enum dtype)type, 96);
                struct problem p = problem_make((enum dtype)type, inner, 20, 5);

                p.x[inner * 2 + 41] = bad[k];
                compare(b, &p);
                problem_free(&p);
            }
        }
    }
}

/* An infinite scale makes infinity or, where partial sums have both signs, NaN: which of them is up
 * to the backend. */
TEST(scales_with_nan_or_infinity_spoil_their_own_row_only)
{
    static const uint16_t bad[] = {0x7e00, 0x7c00, 0xfc00};
    float expected[5 * 20], out[5 * 20];

    FOR_EACH_BACKEND(b)
    {
        for (int type = DTYPE_Q8_0; type < DTYPE_COUNT; type++) {
            for (size_t k = 0; k < COUNT(bad); k++) {
                size_t inner = inner_near((enum dtype)type, 96);
                struct problem p = problem_make((enum dtype)type, inner, 20, 5);
                int scale = blocks_scale_at((enum dtype)type);
                float tolerance = 2e-5f + rounding_of_sums(b, p.w.type, inner) +
                                  rounding_of_weights(b, p.w.type, inner) +
                                  rounding_to_words(b, p.w.type, inner);
                float *off;

                if (scale < 0)
                    scale = (int)(p.w.row_bytes - 2); /* elsewhere, and any number */
                memcpy(p.weights + 4 + 3 * p.w.row_bytes + scale, &bad[k], 2);
                off = rounding_by_spans(b, &p);
                multiply_for(b, &p, expected);
                multiply(b, &p, 0, 5, 0, 20, out);
                for (size_t i = 0; i < COUNT(out); i++)
                    CHECK(i % 20 == 3 ? !isfinite(out[i]) || blocks_scale_at((enum dtype)type) < 0
                                      : same_number(out[i], expected[i], tolerance + off[i]));
                free(off);
                problem_free(&p);
            }
        }
    }
}

TEST(large_and_tiny_activations_keep_their_scale)
{
    static const float scales[] = {1e30f, 1e-25f, 1e-38f, 1e-44f, 0};

    FOR_EACH_BACKEND(b)
    {
        for (int type = 0; type < DTYPE_COUNT; type++) {
            for (size_t k = 0; k < COUNT(scales); k++) {
                size_t inner = inner_near((enum dtype)type, 64);
                struct problem p = problem_make((enum dtype)type, inner, 5, 2);
                float expected[10], out[10], lost = 0, *off;

                if (b->prepared_form((enum dtype)type) == FORM_FIXED)
                    lost = scales[k] * 2 * rounding_to_words(b, (enum dtype)type, inner) +
                           0x1p-100f * (float)inner;
                if (backend_has_tiles(b, (enum dtype)type)) /* without subnormal numbers */
                    lost = 0x1p-126f * (float)inner + scales[k] * 0x1p-14f;
                lost += scales[k] * (rounding_of_sums(b, (enum dtype)type, inner) +
                                     rounding_of_weights(b, (enum dtype)type, inner));
                for (size_t i = 0; i < 2 * inner; i++)
                    p.x[i] *= scales[k];
                off = rounding_by_spans(b, &p);
                multiply_for(b, &p, expected);
                multiply(b, &p, 0, 2, 0, 5, out);
                for (size_t i = 0; i < 10; i++)
                    CHECK(same_number(out[i], expected[i],
                                      2e-5f * scales[k] + 1e-43f + lost + off[i]));
                free(off);
                problem_free(&p);
            }
        }
    }
}

/* The integers of fixed.h are as large as they can be, and all of a sign. */
TEST(the_largest_weights_of_two_bytes_do_not_overflow_their_sums)
{
    FOR_EACH_BACKEND(b)
    {
        for (enum dtype type = DTYPE_F16; type <= DTYPE_BF16; type++) {
            struct problem p = problem_make(type, 64, 40, 9);
            float w = type == DTYPE_F16 ? 65504 : 65280, out[9 * 40];

            for (size_t i = 0; i < 64 * 40; i++) {
                uint16_t value = type == DTYPE_F16 ? f32_to_f16(w) : f32_to_bf16(w);

                memcpy(p.weights + 4 + 2 * i, &value, 2);
            }
            for (size_t i = 0; i < 64 * 9; i++)
                p.x[i] = nextafterf(2, 0);
            for (size_t i = 0; i < 64; i++)
                p.x[64 + i] = -p.x[i];
            multiply(b, &p, 0, 9, 0, 40, out);
            for (size_t i = 0; i < 40; i++) {
                CHECK_NEAR((double)out[i], 128 * (double)w, 128.0);
                CHECK_NEAR((double)out[40 + i], -128 * (double)w, 128.0);
            }
            problem_free(&p);
        }
    }
}

TEST(rmsnorm_agrees_with_the_reference)
{
    static const size_t sizes[] = {1, 3, 8, 17, 64, 288, 2049};
    static float x[2049], w[2049], expected[2049], out[2049];

    FOR_EACH_BACKEND(b)
    {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            size_t n = sizes[i];

            fill(x, n, i == 3 ? 1e30f : 3); /* whose squares f32 could not hold */
            fill(w, n, 1);
            backend_ref.rmsnorm(x, w, n, 1e-5f, expected);
            b->rmsnorm(x, w, n, 1e-5f, out);
            for (size_t k = 0; k < n; k++)
                CHECK_NEAR((double)out[k], (double)expected[k], 1e-6);
            b->rmsnorm(x, w, n, 1e-5f, x);
            CHECK(memcmp(x, out, n * sizeof(float)) == 0);
        }
    }
}

TEST(addition_is_exact)
{
    float x[37], y[37], sum[37];

    FOR_EACH_BACKEND(b)
    {
        for (size_t n = 0; n <= 37; n++) {
            fill(x, 37, 1);
            fill(y, 37, 1);
            for (size_t i = 0; i < 37; i++)
                sum[i] = i < n ? x[i] + y[i] : x[i];
            b->add(x, y, n);
            CHECK(memcmp(x, sum, sizeof(x)) == 0);
        }
    }
}

TEST(swiglu_agrees_with_the_reference_over_the_whole_range)
{
    enum { N = 4001 };
    static float gate[N], up[N], expected[N];

    FOR_EACH_BACKEND(b)
    {
        for (int i = 0; i < N; i++) {
            gate[i] = expected[i] = (float)(i - N / 2) * 0.06f;
            up[i] = 1 + (float)(i % 7);
        }
        gate[0] = expected[0] = NAN;
        gate[1] = expected[1] = INFINITY;
        gate[2] = expected[2] = -INFINITY;
        gate[3] = expected[3] = 3e38f;
        gate[4] = expected[4] = -3e38f;
        up[5] = NAN;
        up[6] = INFINITY;
        backend_ref.swiglu(expected, up, N);
        b->swiglu(gate, up, N);
        for (int i = 0; i < N; i++)
            if (!same_number(gate[i], expected[i], 5e-7f * fabsf(expected[i]) + 1e-44f))
                TEST_FAIL("%s: element %d is %.9g, expected %.9g", b->name, i, (double)gate[i],
                          (double)expected[i]);
    }
}

/* Every size up to a few registers, so that all kinds of ends are met; then the whole range. */
static void check_activation(const struct backend *b, const char *what, void (*of)(float *, size_t),
                             void (*expected_of)(float *, size_t))
{
    enum { N = 4001 };
    static float x[N], expected[N], first[N];

    for (int i = 0; i < N; i++)
        x[i] = expected[i] = (float)(i - N / 2) * 0.006f;
    x[0] = expected[0] = NAN;
    x[1] = expected[1] = INFINITY;
    x[2] = expected[2] = 3e38f;
    x[3] = expected[3] = -3e38f;
    x[4] = expected[4] = -0.0f;
    x[5] = expected[5] = 1e-30f;
    memcpy(first, x, sizeof(x));
    of(x, N);
    expected_of(expected, N);
    for (int i = 0; i < N; i++)
        if (!same_number(x[i], expected[i], 3e-7f * fmaxf(1, fabsf(expected[i]))))
            TEST_FAIL("%s: %s of %.9g is %.9g, expected %.9g", b->name, what, (double)first[i],
                      (double)x[i], (double)expected[i]);
    for (size_t n = 0; n <= 70; n++) {
        float some[71];

        memcpy(some, first + 100, sizeof(some));
        of(some, n);
        CHECK(memcmp(some, x + 100, n * sizeof(float)) == 0);
        CHECK(memcmp(some + n, first + 100 + n, (71 - n) * sizeof(float)) == 0);
    }
}

TEST(gelu_agrees_with_the_reference_over_the_whole_range)
{
    FOR_EACH_BACKEND(b)
    {
        check_activation(b, "gelu", b->gelu, backend_ref.gelu);
        check_activation(b, "gelu_tanh", b->gelu_tanh, backend_ref.gelu_tanh);
    }
}

TEST(layernorm_agrees_with_the_reference)
{
    static const size_t sizes[] = {1, 3, 8, 17, 64, 384, 2049};
    static float x[2049], w[2049], bias[2049], expected[2049], out[2049];

    FOR_EACH_BACKEND(b)
    {
        for (size_t i = 0; i < 4 * COUNT(sizes); i++) {
            size_t n = sizes[i / 4];
            const float *scales = i % 4 < 2 ? w : NULL, *offsets = i % 2 ? bias : NULL;

            fill(x, n, i / 4 == 3 ? 1e30f : 3); /* whose squares f32 could not hold */
            fill(w, n, 1);
            fill(bias, n, 1);
            for (size_t k = 0; k < n; k++)
                x[k] += i / 4 == 5 ? 1000 : 0; /* far from what it varies by */
            backend_ref.layernorm(x, scales, offsets, n, 1e-5f, expected);
            b->layernorm(x, scales, offsets, n, 1e-5f, out);
            for (size_t k = 0; k < n; k++)
                CHECK_NEAR((double)out[k], (double)expected[k], 1e-6);
            b->layernorm(x, scales, offsets, n, 1e-5f, x);
            CHECK(memcmp(x, out, n * sizeof(float)) == 0);
        }
    }
}

/* --- attention within a text --- */

#define TEXT_MOST 200
#define TEXT_WIDE 100

static struct text_attention text_make(size_t count, size_t head_dim, size_t reach)
{
    static float q[TEXT_MOST * TEXT_WIDE], k[TEXT_WIDE * 208], v[TEXT_MOST * TEXT_WIDE];
    struct text_attention a = {.q = q,
                               .k = k,
                               .v = v,
                               .q_stride = head_dim + 3,
                               .k_stride = (count + TEXT_STEP - 1) / TEXT_STEP * TEXT_STEP,
                               .v_stride = head_dim + 1,
                               .out_stride = head_dim + 2,
                               .rows = count,
                               .count = count,
                               .head_dim = head_dim,
                               .reach = reach,
                               .scale = 1 / sqrtf((float)head_dim)};

    fill(q, TEXT_MOST * TEXT_WIDE, 2);
    fill(k, TEXT_WIDE * 208, 2);
    fill(v, TEXT_MOST * TEXT_WIDE, 2);
    for (size_t d = 0; d < head_dim; d++) /* is read, counts for nothing */
        for (size_t i = count; i < a.k_stride; i++)
            k[d * a.k_stride + i] = NAN;
    return a;
}

static void attend_text(const struct backend *b, struct text_attention a, float *out)
{
    float *scores = malloc(TEXT_ROWS * a.k_stride * sizeof(float));

    CHECK(scores);
    for (size_t i = 0; i < TEXT_MOST * TEXT_WIDE; i++)
        out[i] = 7;
    a.scores = scores;
    a.out = out;
    b->attend_text(&a);
    free(scores);
}

TEST(attention_within_a_text_agrees_with_its_definition)
{
    static const size_t counts[] = {1, 2, 5, 6, 7, 15, 16, 17, 63, 64, 65, 130, 190};
    static const size_t dims[] = {1, 8, 16, 20, 32, 48, 64, 90};
    static float out[TEXT_MOST * TEXT_WIDE], expected[TEXT_MOST * TEXT_WIDE];

    FOR_EACH_BACKEND(b)
    {
        for (size_t i = 0; i < COUNT(counts) * COUNT(dims); i++) {
            size_t count = counts[i / COUNT(dims)], reach = i % 3 ? SIZE_MAX : i % 40;
            struct text_attention a = text_make(count, dims[i % COUNT(dims)], reach);

            attend_text(b, a, out);
            attend_text(&backend_ref, a, expected);
            for (size_t k = 0; k < TEXT_MOST * TEXT_WIDE; k++)
                if (!same_number(out[k], expected[k], 3e-6f))
                    TEST_FAIL("%s: %zu rows of %zu, reach %zu: element %zu is %.9g, expected %.9g",
                              b->name, count, a.head_dim, reach, k, (double)out[k],
                              (double)expected[k]);
        }
    }
}

TEST(attention_within_a_text_survives_scores_that_overflow_a_naive_softmax)
{
    static float out[TEXT_MOST * TEXT_WIDE], expected[TEXT_MOST * TEXT_WIDE];

    FOR_EACH_BACKEND(b)
    {
        struct text_attention a = text_make(70, 32, SIZE_MAX);

        a.scale = -1000;
        attend_text(b, a, out);
        attend_text(&backend_ref, a, expected);
        for (size_t k = 0; k < TEXT_MOST * TEXT_WIDE; k++)
            CHECK(same_number(out[k], expected[k], 2e-2f)); /* the scores have errors of 1e-3 */
    }
}

TEST(rope_agrees_with_the_reference_and_leaves_the_rest)
{
    float head[96], expected[96], table[96];

    FOR_EACH_BACKEND(b)
    {
        for (size_t dims = 0; dims <= 96; dims += 2) {
            for (int interleaved = 0; interleaved < 2; interleaved++) {
                fill(head, 96, 2);
                memcpy(expected, head, sizeof(head));
                for (size_t i = 0; i < 48; i++) {
                    table[2 * i] = cosf((float)i);
                    table[2 * i + 1] = sinf((float)i);
                }
                backend_ref.rope(expected, table, dims, interleaved);
                b->rope(head, table, dims, interleaved);
                for (size_t i = 0; i < dims; i++)
                    CHECK_NEAR((double)head[i], (double)expected[i], 1e-6);
                CHECK(memcmp(head + dims, expected + dims, (96 - dims) * sizeof(float)) == 0);
            }
        }
    }
}

TEST(rope_turns_pairs_by_the_angle)
{
    float interleaved[4] = {1, 0, 0, 2}, neox[4] = {1, 0, 0, 2}, table[4] = {0, 1, 0, 1};

    backend_ref.rope(interleaved, table, 4, true);
    backend_ref.rope(neox, table, 4, false);
    CHECK(interleaved[0] == 0 && interleaved[1] == 1 && interleaved[2] == -2 &&
          interleaved[3] == 0);
    CHECK(neox[0] == 0 && neox[2] == 1 && neox[1] == -2 && neox[3] == 0);
}

/* ---- attention ---- */

#define KEYS_MAX 700 /* three blocks, the last one not full */
#define PAGES    ((KEYS_MAX + ATTEND_PAGE - 1) / ATTEND_PAGE)
#define HEADS    9
#define DIM_MAX  256

static const enum dtype kv_types[] = {DTYPE_F16, DTYPE_Q8_0};
#define FOR_EACH_KV_TYPE(t) for (size_t t = 0; t < COUNT(kv_types); t++)

/* Runs that end where their memory ends, full of numbers: those beyond the last key as well. */
struct cache {
    enum dtype type;
    size_t dim;
    void *k[PAGES], *v[PAGES];
    float q[KEYS_MAX * HEADS * DIM_MAX], out[KEYS_MAX * HEADS * DIM_MAX + 1];
    size_t window; /* struct attention's window, cap and sinks, for all jobs */
    float softcap;
    const float *sinks;
};

static void cache_init(struct cache *c, enum dtype type, size_t dim)
{
    static float x[ATTEND_PAGE * DIM_MAX];

    c->type = type;
    c->dim = dim;
    fill(c->q, COUNT(c->q), 1);
    for (size_t p = 0; p < PAGES; p++) {
        c->k[p] = malloc(attend_run_bytes(c->type, dim));
        c->v[p] = malloc(attend_run_bytes(c->type, dim));
        CHECK(c->k[p] && c->v[p]);
        fill(x, ATTEND_PAGE * dim, 1);
        backend_ref.store_keys(c->type, x, dim, ATTEND_PAGE, dim, c->k[p], 0);
        fill(x, ATTEND_PAGE * dim, 1);
        backend_ref.store_values(c->type, x, dim, ATTEND_PAGE, dim, c->v[p], 0);
    }
}

static void cache_fini(struct cache *c)
{
    for (size_t p = 0; p < PAGES; p++) {
        free(c->k[p]);
        free(c->v[p]);
    }
}

/* Where the number of a position and dimension lies in a run: its f16, or its quant. */
static void *place(enum dtype type, bool is_value, void *run, size_t dim, size_t at, size_t i)
{
    if (type == DTYPE_F16)
        return (uint16_t *)run + (is_value ? at * dim + i : i * ATTEND_PAGE + at);
    return (int8_t *)run + (is_value ? at * dim + i : i / 4 * 4 * ATTEND_PAGE + at * 4 + i % 4);
}

static uint16_t *scale_place(void *run, size_t dim, size_t at, size_t i)
{
    uint16_t *scales = (void *)((char *)run + (dim + 3) / 4 * 4 * ATTEND_PAGE);

    return scales + i / 32 * ATTEND_PAGE + at;
}

static double number_at(enum dtype type, bool is_value, void *run, size_t dim, size_t at, size_t i)
{
    const void *p = place(type, is_value, run, dim, at, i);

    if (type == DTYPE_F16)
        return (double)f16_to_f32(*(const uint16_t *)p);
    return (double)f16_to_f32(*scale_place(run, dim, at, i)) * *(const int8_t *)p;
}

static void *run_of(struct cache *c, bool is_value, size_t key)
{
    return (is_value ? c->v : c->k)[key / ATTEND_PAGE];
}

static double cached(struct cache *c, bool is_value, size_t key, size_t i)
{
    return number_at(c->type, is_value, run_of(c, is_value, key), c->dim, key % ATTEND_PAGE, i);
}

/* A number that is none, or infinite: for q8_0 the scale, and so all of its block. */
static void set_half(struct cache *c, bool is_value, size_t key, size_t i, uint16_t half)
{
    void *run = run_of(c, is_value, key);
    size_t at = key % ATTEND_PAGE;

    if (c->type == DTYPE_F16)
        *(uint16_t *)place(c->type, is_value, run, c->dim, at, i) = half;
    else
        *scale_place(run, c->dim, at, i) = half;
}

/* What keys of q8_0 meet in place of q. */
static void query_as_met(const struct cache *c, const float *q, double *out)
{
    for (size_t i = 0; i < c->dim; i++)
        out[i] = (double)q[i];
    for (size_t b = 0; b < c->dim && c->type == DTYPE_Q8_0; b += 32) {
        size_t end = c->dim - b < 32 ? c->dim : b + 32;
        float most = 0, scale = 0;

        for (size_t i = b; i < end; i++)
            most = fmaxf(most, fabsf(q[i]));
        if (most > 0)
            scale = step_for(most).power * step_factors[step_for(most).factor];
        for (size_t i = b; i < end; i++)
            out[i] = most > 0 ? (double)scale * (double)rintf(q[i] * (1 / scale)) : 0;
    }
}

/* Of the queries and results, which lie as [position][HEADS][dim]. */
static struct attention job_of(struct cache *c, size_t first, size_t positions, size_t heads)
{
    return (struct attention){
        .q = c->q + first * HEADS * c->dim,
        .out = c->out + first * HEADS * c->dim,
        .q_stride = HEADS * c->dim,
        .out_stride = HEADS * c->dim,
        .first = first,
        .positions = positions,
        .heads = heads,
        .head_dim = c->dim,
        .type = c->type,
        .k_pages = (const void *const *)c->k,
        .v_pages = (const void *const *)c->v,
        .scale = 0.25f,
        .window = c->window,
        .softcap = c->softcap,
        .sinks = c->sinks,
    };
}

static bool is_seen(const struct attention *a, size_t position, size_t key)
{
    return key <= position && (!a->window || position - key < a->window);
}

/* A back end for prompts alone multiplies bf16 where heads are of whole rows of its tiles. */
static bool attends_in_bf16(const struct backend *b, const struct cache *c)
{
    return b->generates && b->attend != b->generates->attend && c->type == DTYPE_F16 &&
           c->dim % 32 == 0;
}

/* How far weighted values may be off that are 1 at most: there they are rounded to eight bits, and
 * so are their weights. */
static double mix_off(const struct backend *b, const struct cache *c)
{
    return attends_in_bf16(b, c) ? 2 * 0x1p-8 : 2e-5;
}

/* The same of a score, in proportion to the sizes of its parts: there queries are rounded to
 * sixteen bits, and what is below eight of a query is not multiplied by what is below eight of a
 * key; where there are no tiles, both are integers, of thirteen bits at least. */
static double score_off(const struct backend *b, const struct cache *c)
{
    if (!attends_in_bf16(b, c))
        return 2 * (double)FLT_EPSILON;
    return b->matmul_swiglu_prepared ? 2 * 0x1p-16 : 2 * 0x1p-13;
}

/* By the definition: no blocks.  Returns the size of scores: a score is a sum whose rounding is in
 * proportion to the sum of its parts' sizes, and its exponential is off by as much, relatively. */
static double attend_plainly(struct cache *c, const struct attention *a, size_t row, double *out)
{
    const float *q = a->q + row / a->heads * a->q_stride + row % a->heads * a->head_dim;
    size_t position = a->first + row / a->heads, keys = position + 1;
    double p[KEYS_MAX], met[DIM_MAX], most = -HUGE_VAL, total = 0, size = 0;

    query_as_met(c, q, met);
    for (size_t j = 0; j < keys; j++) {
        double parts = 0;

        p[j] = 0;
        for (size_t i = 0; i < c->dim; i++) {
            double part = met[i] * cached(c, false, j, i);

            p[j] += part;
            parts += fabs(part);
        }
        p[j] *= (double)a->scale;
        parts *= (double)a->scale;
        if (a->softcap != 0)
            p[j] = (double)a->softcap * tanh(p[j] / (double)a->softcap);
        if (!is_seen(a, position, j))
            p[j] = -HUGE_VAL;
        /* Not fmax: gcc 12 ends with an internal error over it when it compiles for ARM. */
        if (p[j] > most)
            most = p[j];
        if (parts > size)
            size = parts;
    }
    memset(out, 0, c->dim * sizeof(*out));
    for (size_t j = 0; j < keys; j++) {
        p[j] = exp(p[j] - most);
        total += p[j];
        for (size_t i = 0; i < c->dim; i++)
            out[i] += p[j] * cached(c, true, j, i);
    }
    if (a->sinks)
        total += exp((double)a->sinks[row % a->heads] - most);
    for (size_t i = 0; i < c->dim; i++)
        out[i] /= total;
    return size;
}

static void check_attention(const struct backend *b, struct cache *c, const struct attention *a)
{
    size_t rows = a->positions * a->heads;
    double expected[DIM_MAX];

    a->out[(a->positions - 1) * a->out_stride + a->heads * c->dim] = 12345;
    b->attend(a);
    CHECK(a->out[(a->positions - 1) * a->out_stride + a->heads * c->dim] == 12345);
    /* Rows far apart, and the last ones, which see most. */
    for (size_t r = 0; r < rows; r += rows - r < 10 ? 1 : 7) {
        const float *out = a->out + r / a->heads * a->out_stride + r % a->heads * c->dim;
        double off = mix_off(b, c) + score_off(b, c) * attend_plainly(c, a, r, expected);

        for (size_t i = 0; i < c->dim; i++)
            CHECK_NEAR((double)out[i], expected[i], off);
    }
}

TEST(attention_agrees_with_its_definition)
{
    static const size_t dims[] = {1, 8, 20, 32, 48, 64, 80, 96, 128, 200, 256};
    static const size_t firsts[] = {0, 15, 62, 63, 64, 100, 254, 255, 256, 500, 690};
    static const size_t positions[] = {1, 2, 3, 5, 7, 10};
    static struct cache c;

    for (size_t k = 0; k < COUNT(dims) * COUNT(kv_types); k++) {
        cache_init(&c, kv_types[k / COUNT(dims)], dims[k % COUNT(dims)]);
        FOR_EACH_BACKEND(b)
        {
            for (size_t i = 0; i < COUNT(firsts); i++) {
                size_t heads = 1 + (i + k) % HEADS, n = positions[(i + 2 * k) % COUNT(positions)];
                struct attention a = job_of(&c, firsts[i], n, heads);

                a.scale = i % 2 ? 0.125f : 8; /* 8: one key takes all */
                check_attention(b, &c, &a);
            }
        }
        cache_fini(&c);
    }
}

TEST(attention_of_a_whole_prompt_agrees_with_its_definition)
{
    static const size_t dims[] = {40, 64};
    static struct cache c;

    for (size_t k = 0; k < COUNT(dims) * COUNT(kv_types); k++) {
        cache_init(&c, kv_types[k / COUNT(dims)], dims[k % COUNT(dims)]);
        FOR_EACH_BACKEND(b)
        {
            for (size_t heads = 1; heads < HEADS; heads += 2) {
                struct attention a = job_of(&c, 0, 330, heads);

                check_attention(b, &c, &a);
            }
        }
        cache_fini(&c);
    }
}

static const float some_sinks[HEADS] = {-3, 0, 2, 5, -1, 1, 0.5f, 3};

static const size_t narrow_dims[] = {24, 64};

/* What some architectures add, alone and together: `which` says which. */
static void cache_narrow(struct cache *c, unsigned which)
{
    static const size_t windows[] = {1, 5, 64, 300};

    c->window = which & 1 ? windows[which / 2] : 0;
    c->softcap = which & 2 ? 2.5f : 0;
    c->sinks = which & 4 ? some_sinks : NULL;
}

TEST(attention_with_windows_caps_and_sinks_agrees_with_its_definition)
{
    static const size_t firsts[] = {0, 63, 250, 256, 500};
    static struct cache c;

    for (unsigned k = 0; k < COUNT(kv_types) * COUNT(narrow_dims) * 8; k++) {
        unsigned which = k / COUNT(kv_types) % 8;

        cache_init(&c, kv_types[k % COUNT(kv_types)], narrow_dims[k / COUNT(kv_types) / 8]);
        FOR_EACH_BACKEND(b)
        {
            for (size_t i = 0; i < COUNT(firsts); i++) {
                struct attention a;

                cache_narrow(&c, which);
                a = job_of(&c, firsts[i], 9, 1 + (i + k) % HEADS);
                check_attention(b, &c, &a);
            }
        }
        cache_fini(&c);
    }
}

/* Everything at positions below `keys` and no others, in jobs of every size, of blocks if
 * `in_blocks` says so: the last ones first, so that nothing can rest on what is in out. */
static void attend_in_jobs(const struct backend *b, struct cache *c, size_t keys, size_t heads,
                           size_t size, bool in_blocks)
{
    memset(c->out, 0xff, sizeof(c->out));
    for (size_t end = keys; end > 0;) {
        size_t n = end < size ? end : size;
        struct attention a = job_of(c, end - n, n, heads);
        size_t blocks = attention_blocks(&a);
        float *partials = malloc(blocks * attention_floats(&a) * sizeof(float));

        CHECK(partials);
        memset(partials, 0xff, blocks * attention_floats(&a) * sizeof(float));
        for (size_t i = blocks; i > 0 && in_blocks; i--)
            b->attend_block(&a, i - 1, partials + (i - 1) * attention_floats(&a));
        if (in_blocks)
            b->attend_join(&a, partials);
        else
            b->attend(&a);
        free(partials);
        end -= n;
    }
}

/* Fewer for the slow reference. */
static size_t keys_for(const struct backend *b)
{
    if (b == &backend_ref)
        return test_is_brief() ? 70 : 300;
    return test_is_brief() ? 300 : KEYS_MAX;
}

TEST(attention_has_the_same_bits_in_jobs_of_every_size_and_in_blocks)
{
    static const size_t sizes[] = {1, 2, 3, 7, 16, 64, 100, 700};
    static const size_t dims[] = {5, 16, 24, 64, 80, 112};
    static struct cache c;
    static float expected[COUNT(c.out)];

    for (size_t k = 0; k < COUNT(dims) * COUNT(kv_types); k++) {
        cache_init(&c, kv_types[k / COUNT(dims)], dims[k % COUNT(dims)]);
        FOR_EACH_BACKEND(b)
        {
            size_t keys = keys_for(b), heads = 1 + 2 * (k % 5); /* HEADS at most */

            attend_in_jobs(b, &c, keys, heads, 1, false);
            memcpy(expected, c.out, sizeof(expected));
            for (size_t i = 0; i < COUNT(sizes); i++) {
                attend_in_jobs(b, &c, keys, heads, sizes[i], i % 2 == 0);
                CHECK(memcmp(c.out, expected, sizeof(expected)) == 0);
            }
        }
        cache_fini(&c);
    }
}

TEST(attention_with_windows_caps_and_sinks_has_the_same_bits_in_jobs_of_every_size)
{
    static const size_t sizes[] = {3, 16, 100, 700};
    static struct cache c;
    static float expected[COUNT(c.out)];

    for (unsigned k = 0; k < COUNT(kv_types) * COUNT(narrow_dims) * 8; k++) {
        unsigned which = k / COUNT(kv_types) % 8;

        cache_init(&c, kv_types[k % COUNT(kv_types)], narrow_dims[k / COUNT(kv_types) / 8]);
        FOR_EACH_BACKEND(b)
        {
            size_t keys = keys_for(b), heads = 1 + k % 5;

            cache_narrow(&c, which);
            attend_in_jobs(b, &c, keys, heads, 1, false);
            memcpy(expected, c.out, sizeof(expected));
            for (size_t i = 0; i < COUNT(sizes); i++) {
                attend_in_jobs(b, &c, keys, heads, sizes[i], i % 2 == 0);
                CHECK(memcmp(c.out, expected, sizeof(expected)) == 0);
            }
        }
        cache_fini(&c);
    }
}

TEST(attention_of_a_head_does_not_depend_on_the_heads_beside_it)
{
    static struct cache c;
    static float expected[HEADS * 64];

    for (size_t i = 0; i < 2 * KEYS_MAX; i += 213) {
        size_t position = 60 + i % (KEYS_MAX - 60);

        cache_init(&c, kv_types[i / KEYS_MAX], 64);
        FOR_EACH_BACKEND(b)
        {
            for (size_t heads = 1; heads <= HEADS; heads++) {
                struct attention a = job_of(&c, position, 1, heads);

                b->attend(&a);
                memcpy(expected, a.out, heads * c.dim * sizeof(float));
                memset(a.out, 0, heads * c.dim * sizeof(float));
                a.heads = 1;
                for (size_t h = 0; h < heads; h++, a.q += c.dim, a.out += c.dim)
                    b->attend(&a);
                CHECK(memcmp(a.out - heads * c.dim, expected, heads * c.dim * sizeof(float)) == 0);
            }
        }
        cache_fini(&c);
    }
}

/* NaN, infinity and what not, from `key` on. */
static void spoil_from(struct cache *c, size_t key)
{
    for (; key < PAGES * ATTEND_PAGE; key++) {
        for (size_t i = 0; i < c->dim; i++) {
            if (c->type == DTYPE_Q8_0)
                *(int8_t *)place(c->type, i % 2, run_of(c, i % 2, key), c->dim, key % ATTEND_PAGE,
                                 i) = (int8_t)(state >> 24);
            set_half(c, false, key, i, (uint16_t)(state >> 16));
            set_half(c, true, key, i, i % 2 ? 0x7c00 : 0xfe00);
            uniform();
        }
    }
}

TEST(attention_does_not_notice_keys_behind_the_last)
{
    static struct cache c;
    static float expected[COUNT(c.out)];

    FOR_EACH_BACKEND(b)
    {
        for (size_t keys = 60; keys < KEYS_MAX; keys += 97) {
            size_t before = keys > 20 ? keys - 20 : 0;
            struct attention a;

            cache_init(&c, kv_types[keys % 2], narrow_dims[keys / 2 % 2]);
            memset(c.out, 0, sizeof(c.out));
            a = job_of(&c, before, keys - before, 3);
            b->attend(&a);
            memcpy(expected, c.out, sizeof(expected));
            spoil_from(&c, keys);
            b->attend(&a);
            CHECK(memcmp(c.out, expected, sizeof(expected)) == 0);
            /* And earlier positions of the same job not what later ones stored. */
            spoil_from(&c, keys - 7);
            set_half(&c, true, keys - 7, 0, 0x7e00);
            b->attend(&a);
            CHECK(memcmp(c.out, expected, (keys - 7) * HEADS * c.dim * sizeof(float)) == 0);
            CHECK(isnan(c.out[(keys - 7) * HEADS * c.dim]));
            cache_fini(&c);
        }
    }
}

TEST(attention_survives_scores_that_overflow_a_naive_softmax)
{
    static struct cache c;
    double expected[64];

    FOR_EACH_KV_TYPE(k)
    {
        cache_init(&c, kv_types[k], 64);
        FOR_EACH_BACKEND(b)
        {
            struct attention a = job_of(&c, 650, 1, 2);

            for (size_t i = 0; i < 2 * c.dim; i++)
                c.q[650 * HEADS * c.dim + i] = i < c.dim ? 1000 : -1000;
            a.scale = 1;
            b->attend(&a);
            for (size_t r = 0; r < 2; r++) {
                attend_plainly(&c, &a, r, expected);
                for (size_t i = 0; i < c.dim; i++) {
                    CHECK(isfinite(a.out[r * c.dim + i]));
                    CHECK_NEAR((double)a.out[r * c.dim + i], expected[i], 1e-2);
                }
            }
        }
        cache_fini(&c);
    }
}

TEST(attention_passes_nan_on)
{
    static struct cache c;

    FOR_EACH_BACKEND(b)
    {
        for (size_t n = 0; n < 6; n++) {
            size_t key = 3 + n / 2 * 280, spoilt = kv_types[n % 2] == DTYPE_F16 ? 1 : 32;
            struct attention a;

            cache_init(&c, kv_types[n % 2], 64);
            a = job_of(&c, 650, 1, 1);
            set_half(&c, false, key, 5, 0x7e00);
            b->attend(&a);
            for (size_t i = 0; i < 64; i++)
                CHECK(isnan(a.out[i]));
            cache_fini(&c);
            cache_init(&c, kv_types[n % 2], 64);
            set_half(&c, true, key, 5, 0x7e00);
            a = job_of(&c, 650, 1, 1);
            b->attend(&a);
            for (size_t i = 0; i < 64; i++)
                CHECK(!isnan(a.out[i]) == (i / spoilt != 5 / spoilt));
            c.q[650 * HEADS * 64 + 40] = NAN;
            b->attend(&a);
            CHECK(isnan(a.out[40]));
            cache_fini(&c);
        }
    }
}

/* A whole block of keys that score minus infinity weighs nothing beside others, and alone is 0/0.
 */
TEST(attention_gives_keys_of_minus_infinity_no_weight)
{
    static struct cache c;
    double expected[64];

    FOR_EACH_BACKEND(b)
    {
        for (size_t begin = 0; begin <= 512; begin += 256) {
            struct attention a;

            cache_init(&c, DTYPE_F16, 64);
            a = job_of(&c, 650, 1, 1);
            c.q[650 * HEADS * 64 + 5] = 1;
            for (size_t key = begin; key < begin + 256 && key <= 650; key++)
                set_half(&c, false, key, 5, 0xfc00);
            b->attend(&a);
            attend_plainly(&c, &a, 0, expected);
            for (size_t i = 0; i < 64; i++)
                CHECK_NEAR((double)a.out[i], expected[i], mix_off(b, &c));
            cache_fini(&c);
        }
        cache_init(&c, DTYPE_F16, 64);
        for (size_t key = 0; key <= 300; key++)
            set_half(&c, false, key, 5, 0xfc00);
        c.q[300 * HEADS * 64 + 5] = 1;
        struct attention a = job_of(&c, 300, 1, 1);
        b->attend(&a);
        CHECK(isnan(a.out[0]) && isnan(a.out[63]));
        cache_fini(&c);
    }
}

/* Of one head at one position, the numbers that the type itself would read back. */
static void as_stored(enum dtype type, const float *x, size_t dim, float *out)
{
    float padded[96] = {0};
    char row[96 * 2];

    memcpy(padded, x, dim * sizeof(*x));
    dtype_info(type)->from_f32(padded, NULL, row, 96);
    dtype_info(type)->to_f32(row, out, 96);
}

/* Positions [at, at + n) of a run hold x, and nothing else has changed. */
static void check_stored(enum dtype type, bool is_value, const float *x, size_t stride, size_t n,
                         size_t dim, void *run, size_t at)
{
    size_t bytes = attend_run_bytes(type, dim);
    static char expected[96 * ATTEND_PAGE * 2];
    float want[96];

    memset(expected, 0x5a, bytes);
    for (size_t i = 0; i < n; i++) {
        as_stored(type, x + i * stride, dim, want);
        for (size_t d = 0; d < dim; d++)
            CHECK(same_number((float)number_at(type, is_value, run, dim, at + i, d), want[d], 0));
        if (is_value || type == DTYPE_F16)
            continue;
        for (size_t d = dim; d < (dim + 3) / 4 * 4; d++) /* what fills up the last four */
            CHECK_INT(*(int8_t *)place(type, is_value, run, dim, at + i, d), 0);
    }
    for (size_t i = 0; i < ATTEND_PAGE; i++) {
        for (size_t d = 0; d < (dim + 3) / 4 * 4 && (i < at || i >= at + n); d++) {
            if (d < dim || (type == DTYPE_Q8_0 && !is_value))
                CHECK(memcmp(place(type, is_value, run, dim, i, d), expected,
                             type == DTYPE_F16 ? 2 : 1) == 0);
            if (type == DTYPE_Q8_0 && d < dim)
                CHECK_INT(*scale_place(run, dim, i, d), 0x5a5a);
        }
    }
}

TEST(keys_and_values_are_stored_where_they_belong_as_their_type_says)
{
    enum { STRIDE = 90, DIMS = 80 };
    static float x[ATTEND_PAGE * STRIDE];

    FOR_EACH_BACKEND(b)
    {
        for (size_t i = 0; i < COUNT(x); i++) {
            uint32_t u = (uint32_t)i * 2654435761u; /* every kind of number */

            memcpy(&x[i], &u, sizeof(u));
            if (i % 7 < 5) /* and, for blocks that hold no NaN, sizes from 2^-30 to 2^30 */
                x[i] = ldexpf(uniform(), (int)(i / STRIDE) - 30);
            if (i / STRIDE % 2)
                x[i] = ldexpf(uniform(), (int)(i / STRIDE) - 30);
        }
        for (size_t n = 1, at = 0, dim = DIMS; n <= ATTEND_PAGE; n += 2, at = (at + 5) % 64) {
            size_t room = ATTEND_PAGE - at, count = n < room ? n : room;

            for (size_t k = 0; k < 4; k++) {
                enum dtype type = kv_types[k / 2];
                void *run = malloc(attend_run_bytes(type, dim));

                CHECK(run);
                memset(run, 0x5a, attend_run_bytes(type, dim));
                (k % 2 ? b->store_values : b->store_keys)(type, x, STRIDE, count, dim, run, at);
                check_stored(type, k % 2, x, STRIDE, count, dim, run, at);
                free(run);
            }
            dim = dim > 3 ? dim - 3 : DIMS;
        }
    }
}

/* ---- rows ---- */

TEST(narrowing_to_f16_is_the_reference_to_the_bit)
{
    enum { DIM = 1000, N = 70 * DIM };
    static float x[N];
    static uint16_t out[ATTEND_PAGE * DIM];

    for (uint32_t i = 0; i < N; i++) {
        uint32_t u = i * 61357u;

        memcpy(&x[i], &u, sizeof(u));
    }
    FOR_EACH_BACKEND(b)
    {
        for (size_t from = 0; from < N; from += DIM) {
            b->store_values(DTYPE_F16, x + from, 0, 1, DIM, out, 0);
            for (size_t i = 0; i < DIM; i++)
                if (out[i] != f32_to_f16(x[from + i]))
                    TEST_FAIL("%s: %a is %04x, expected %04x", b->name, (double)x[from + i], out[i],
                              f32_to_f16(x[from + i]));
        }
    }
}

TEST(rows_widen_as_their_type_says)
{
    float expected[2 * K_BLOCK], out[2 * K_BLOCK + 1];

    FOR_EACH_BACKEND(b)
    {
        for (int type = 0; type < DTYPE_COUNT; type++) {
            size_t block = dtype_info((enum dtype)type)->block;

            for (size_t n = block; n <= 2 * K_BLOCK; n += block < 32 ? 13 : block) {
                struct problem p = problem_make((enum dtype)type, n, 1, 1);

                out[n] = 12345;
                dtype_info((enum dtype)type)->to_f32(p.w.data, expected, n);
                b->row_to_f32((enum dtype)type, p.w.data, out, n);
                CHECK(memcmp(out, expected, n * sizeof(float)) == 0 && out[n] == 12345);
                problem_free(&p);
            }
        }
    }
}

TEST(prepared_forms_are_shared_by_the_quantised_types)
{
    FOR_EACH_BACKEND(b)
    {
        for (int type = DTYPE_Q8_0; type < DTYPE_COUNT; type++) {
            bool has_neighbours = b->prepared_form((enum dtype)type) == FORM_NEIGHBOURS;
            enum dtype like = has_neighbours                                   ? DTYPE_Q8_0
                              : dtype_info((enum dtype)type)->block == K_BLOCK ? DTYPE_Q6_K
                                                                               : DTYPE_Q4_0;

            if (!dtype_is_integer((enum dtype)type) && !backend_reads_packed(b, DTYPE_Q8_0)) {
                CHECK_INT(b->prepared_form(DTYPE_F32), b->prepared_form((enum dtype)type));
                continue;
            }

            CHECK_INT(b->prepared_form(like), b->prepared_form((enum dtype)type));
            CHECK(b->prepared_form(DTYPE_F32) != b->prepared_form((enum dtype)type));
            CHECK_INT(b->prepared_bytes(like, 512), b->prepared_bytes((enum dtype)type, 512));
        }
    }
}
