/* SPDX-License-Identifier: Apache-2.0 */
/* Packed weights hold what plain ones hold, and are multiplied to the same bits. */
#include "test.h"

#include "backends.h"
#include "blocks.h"

#include "base/mem.h"
#include "tensor/backend.h"
#include "tensor/fixed.h"
#include "tensor/packed.h"

static uint32_t state = 1;

static uint32_t random_bits(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static float uniform(void) /* [-1, 1) */
{
    return (float)random_bits() * 0x1p-23f - 1;
}

static const enum dtype types[] = {
    DTYPE_Q8_0,   DTYPE_Q4_0,    DTYPE_Q4_1,   DTYPE_Q5_0,  DTYPE_Q5_1,    DTYPE_Q4_K,
    DTYPE_Q6_K,   DTYPE_F16,     DTYPE_BF16,   DTYPE_Q2_K,  DTYPE_Q3_K,    DTYPE_Q5_K,
    DTYPE_IQ4_NL, DTYPE_IQ4_XS,  DTYPE_MXFP4,  DTYPE_TQ1_0, DTYPE_TQ2_0,   DTYPE_IQ1_S,
    DTYPE_IQ1_M,  DTYPE_IQ2_XXS, DTYPE_IQ2_XS, DTYPE_IQ2_S, DTYPE_IQ3_XXS, DTYPE_IQ3_S};
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Blocks of any bits with scales that are small numbers: what no quantiser makes, a file may hold.
 */
static struct tensor plain_make(enum dtype type, size_t inner, size_t rows)
{
    const struct dtype_info *info = dtype_info(type);
    size_t bytes = dtype_row_bytes(type, inner) * rows;
    char *data = malloc(bytes + 1);

    CHECK(data);
    for (size_t at = 0; at < bytes && info->block == 1; at += 2) {
        /* Of bf16 some are too small beside others, some beside 1. */
        float small = ldexpf(1, -(int)(random_bits() % 20) * (at / 64 % 3 == 0 ? 1 : 7));
        uint16_t value = type == DTYPE_F16 ? f32_to_f16(uniform()) : f32_to_bf16(uniform() * small);

        memcpy(data + at, &value, 2);
    }
    for (size_t at = 0; at < bytes && info->block > 1; at += info->block_bytes) {
        uint16_t halves[2] = {f32_to_f16(uniform() * 0.01f), f32_to_f16(uniform() * 0.01f)};

        for (size_t i = 0; i < info->block_bytes; i++)
            data[at + i] = (char)random_bits();
        blocks_set_scales(type, data + at, halves);
    }
    return (struct tensor){.type = type,
                           .n_dims = 2,
                           .shape = {inner, rows, 1, 1},
                           .row_bytes = dtype_row_bytes(type, inner),
                           .data = data};
}

static struct tensor pack(const struct tensor *w)
{
    size_t groups = packed_groups(w->shape[1]);
    size_t bytes = groups * PACKED_GROUP * packed_form(w, NULL).row_bytes;
    char *data = mem_aligned(bytes), *at = data;

    CHECK(data);
    for (size_t first = 0; first < w->shape[0]; first += PACKED_STRIP) {
        size_t group = packed_group_bytes(w->type, packed_columns(w->shape[0], first));

        CHECK(group % PACKED_ALIGN == 0);
        packed_write(w, first, 0, groups, at);
        at += group * groups;
    }
    CHECK_INT(at - data, bytes);
    return packed_form(w, data);
}

static float half(const uint8_t *p)
{
    uint16_t h;

    memcpy(&h, p, sizeof(h));
    return f16_to_f32(h);
}

/* The bits of value v of a block of two-byte floats: of f16 in the upper 14 of a word. */
static unsigned word_of(const uint8_t *block, size_t bits, size_t v, size_t lane)
{
    size_t planes = bits == 14 ? 7 : 3, spare = 16 - bits, pair = v / 2;
    const uint8_t *first = block + 64 * (pair / (planes + 1) * planes) + 4 * lane + v % 2 * 2;
    unsigned word = 0, last = 0;

    for (size_t k = 0; k < planes; k++) {
        unsigned plane = first[64 * k] | (unsigned)first[64 * k + 1] << 8;

        last |= (bits == 14 ? plane & 3 : plane >> 12) << spare * k;
        if (k == pair % (planes + 1))
            word = plane;
    }
    if (pair % (planes + 1) == planes)
        return bits == 14 ? last << 2 : last;
    return word;
}

/* The number of six bits that byte `byte` of a dword stands for. */
static int six_bits(const uint8_t *block, size_t dword, size_t byte)
{
    const uint8_t *first = block + 192 * (dword / 4) + byte;

    if (dword % 4 < 3)
        return first[64 * (dword % 4)] >> 2;
    return (first[0] & 3) | (first[64] & 3) << 2 | (first[128] & 3) << 4;
}

/* Value i of row r, read as packed.h says it lies. */
static float value_of(const struct tensor *matrix, size_t r, size_t i)
{
    const struct tensor strip = packed_strip(matrix, i / PACKED_STRIP * PACKED_STRIP), *p = &strip;
    enum dtype type = packed_as(p->type);
    struct packed_unit u = packed_unit(type);
    size_t b = i % PACKED_STRIP / Q_BLOCK, k = b % u.blocks, v = i % Q_BLOCK,
           lane = r % PACKED_GROUP;
    const uint8_t *group =
        (const uint8_t *)p->data + r / PACKED_GROUP * PACKED_GROUP * p->row_bytes;
    const uint8_t *unit = group + packed_front(type, p->shape[0]) + b / u.blocks * u.bytes;
    const uint8_t *block = unit + u.first + k * u.block, *small = unit + u.scales;
    size_t byte = 4 * lane + v % 4, dword = v / 4;
    const uint8_t *twos = block + (packed_bits(type) & 4 ? 256 : 0);
    const uint8_t *ones = twos + (packed_bits(type) & 2 ? 128 : 0);
    int q = 0;

    if (type == DTYPE_F16)
        return ldexpf((float)((int16_t)word_of(block, 14, v, lane) >> 2),
                      group[16 * b + lane] - FIXED_BIAS);
    if (type == DTYPE_BF16) {
        unsigned bits = word_of(block, 12, v, lane), below = bits & 15;
        float significand = (float)(0x80 | (bits >> 5 & 0x7f)) * (bits & 16 ? -1 : 1);

        return below == PACKED_ZERO ? 0
                                    : ldexpf(significand, group[16 * b + lane] + FIXED_BITS - 7 -
                                                              FIXED_BIAS - (int)below);
    }
    if (type == DTYPE_Q8_0)
        return half(unit + 32 * k + 2 * lane) * (float)(block[64 * dword + byte] - 128);
    if (packed_bits(type) == 6)
        q = six_bits(block, dword, byte);
    else if (packed_bits(type) & 4)
        q = block[64 * (dword % 4) + byte] >> (dword < 4 ? 0 : 4) & 15;
    if (packed_bits(type) == 2 || packed_bits(type) == 3)
        q |= (twos[64 * (dword / 4) + byte] >> 2 * (dword % 4) & 3);
    if (packed_bits(type) & 1)
        q |= (ones[byte] >> dword & 1) << (packed_bits(type) - 1);
    if (type == DTYPE_Q6_K || type == DTYPE_Q3_K)
        return half(unit + 2 * lane) * (float)(int8_t)small[16 * (2 * k + v / 16) + lane] *
               (float)(q - (type == DTYPE_Q3_K ? 4 : 32));
    if (type == DTYPE_Q2_K)
        return half(unit + 2 * lane) * (float)(small[16 * (2 * k + v / 16) + lane] & 15) *
                   (float)q -
               half(unit + 32 + 2 * lane) * (float)(small[16 * (2 * k + v / 16) + lane] >> 4);
    if (type == DTYPE_IQ4_XS || type == DTYPE_IQ2_S || type == DTYPE_TQ2_0) {
        struct packed_levels levels;
        int scale = type == DTYPE_TQ2_0 ? 1 : (int8_t)small[16 * k + lane];

        if (type == DTYPE_IQ2_S)
            scale = 2 * (small[16 * k + lane] >> (v < 16 ? 0 : 4) & 15) + 1;
        memcpy(&levels, unit + PACKED_LEVELS, sizeof(levels));
        CHECK(abs(levels.level[q] - 128) <= levels.largest);
        return half(unit + 2 * lane) * (float)scale * levels.factor *
               (float)(levels.level[q] - 128);
    }
    if (type == DTYPE_IQ4_NL)
        return half(unit + 32 * k + 2 * lane) * (float)iq4_levels[q];
    if (type == DTYPE_MXFP4)
        return mxfp4_scale(unit[16 * k + lane]) * (float)mxfp4_levels[q];
    if (type == DTYPE_Q4_K || type == DTYPE_Q5_K) {
        static const size_t place[] = {0, 2, 1, 3, 0, 2, 1, 3};

        return half(unit + 2 * lane) * (float)six_bits(small, k / 4, 4 * lane + k % 4) * (float)q -
               half(unit + 32 + 2 * lane) * (float)six_bits(small, 2 + k / 4, 4 * lane + place[k]);
    }
    if (type == DTYPE_Q4_1 || type == DTYPE_Q5_1)
        return half(unit + 32 * k + 2 * lane) * (float)q + half(unit + 64 + 32 * k + 2 * lane);
    return half(unit + 32 * k + 2 * lane) * (float)(q - (type == DTYPE_Q4_0 ? 8 : 16));
}

/* How far a packed value may be from the plain one: that of f16 is as far as half a step of
 * fixed.h.
 */
static float allowed(const struct tensor *p, size_t i, const float *row)
{
    size_t begin = i / Q_BLOCK * Q_BLOCK;
    float most = 0;

    if (p->type != DTYPE_F16)
        return 0;
    for (size_t k = begin; k < begin + Q_BLOCK && k < p->shape[0]; k++)
        most = fmaxf(most, fabsf(row[k]));
    return most * 0x1p-13f;
}

static size_t inner_of(enum dtype type, size_t i)
{
    static const size_t blocks[] = {1, 2, 3, 15, 16, 17, 34, 51};
    size_t block = dtype_info(type)->block;

    return i < COUNT(blocks) ? blocks[i] * (block > 1 ? block : 41) : 0;
}

/* Of bf16, what has an exponent more than PACKED_SPAN below the largest of its 32 is packed as
 * zero. */
static void drop_small(uint16_t *row, size_t n)
{
    for (size_t at = 0; at < n; at += Q_BLOCK) {
        size_t end = n - at < Q_BLOCK ? n : at + Q_BLOCK;
        int most = 0;

        for (size_t i = at; i < end; i++)
            most = (row[i] >> 7 & 0xff) > most ? row[i] >> 7 & 0xff : most;
        for (size_t i = at; i < end; i++)
            if ((row[i] >> 7 & 0xff) < most - PACKED_SPAN || (row[i] & 0x7f80) == 0)
                row[i] = 0;
    }
}

/* Each of them beside its neighbours, and beside those of other exponents. */
TEST(every_half_is_packed_as_the_integer_that_it_becomes)
{
    enum { HALVES = 1 << 16, ROWS = HALVES / Q_BLOCK };
    uint16_t *h = malloc(HALVES * sizeof(*h));
    struct tensor w = {.type = DTYPE_F16,
                       .n_dims = 2,
                       .shape = {Q_BLOCK, ROWS, 1, 1},
                       .row_bytes = Q_BLOCK * sizeof(*h),
                       .data = h};

    CHECK(h);
    for (size_t stride = 1; stride <= ROWS; stride += ROWS - 1) {
        struct tensor p;

        for (size_t i = 0; i < HALVES; i++) {
            h[i] = (uint16_t)(stride == 1 ? i : i % Q_BLOCK * ROWS + i / Q_BLOCK);
            if ((h[i] & 0x7c00) == 0x7c00) /* not finite: a block without numbers */
                h[i] = 0;
        }
        p = pack(&w);
        for (size_t r = 0; r < ROWS; r++) {
            float most = 0;
            int power;

            for (size_t v = 0; v < Q_BLOCK; v++)
                most = fmaxf(most, fabsf(f16_to_f32(h[r * Q_BLOCK + v])));
            power = fixed_power(most);
            for (size_t v = 0; v < Q_BLOCK; v++)
                CHECK(value_of(&p, r, v) ==
                      ldexpf(rintf(ldexpf(f16_to_f32(h[r * Q_BLOCK + v]), -power)), power));
        }
        mem_free((void *)(uintptr_t)p.data);
    }
    free(h);
}

TEST(packed_weights_hold_the_values_of_plain_ones)
{
    for (size_t k = 0; k < COUNT(types); k++) {
        for (size_t i = 0, inner; (inner = inner_of(types[k], i)) != 0; i++) {
            size_t rows = 16 + 5 * i;
            struct tensor w = plain_make(types[k], inner, rows), p = pack(&w);
            float *row = malloc(inner * sizeof(float));

            CHECK(row);
            for (size_t r = 0; r < rows; r++) {
                if (w.type == DTYPE_BF16)
                    drop_small((uint16_t *)(uintptr_t)tensor_row(&w, r), inner);
                dtype_info(w.type)->to_f32(tensor_row(&w, r), row, inner);
                for (size_t v = 0; v < inner; v++)
                    if (!(fabsf(value_of(&p, r, v) - row[v]) <= allowed(&p, v, row)))
                        TEST_FAIL("%s row %zu value %zu is %g, expected %g",
                                  dtype_info(w.type)->name, r, v, (double)value_of(&p, r, v),
                                  (double)row[v]);
            }
            free(row);
            mem_free((void *)(uintptr_t)p.data);
            free((void *)(uintptr_t)w.data);
        }
    }
}

TEST(what_is_multiplied_in_f32_has_no_packed_form)
{
    CHECK(!packed_has(DTYPE_F32));
    for (size_t k = 0; k < COUNT(types); k++)
        CHECK(packed_has(types[k]));
}

/* n vectors of a type, prepared. */
static char *vectors_make(const struct backend *b, enum dtype type, size_t inner, size_t n)
{
    size_t bytes = b->prepared_bytes(type, inner);
    char *x = mem_aligned(bytes * n);
    float *v = malloc(inner * sizeof(float));

    CHECK(x && v);
    for (size_t t = 0; t < n; t++) {
        for (size_t c = 0; c < inner; c++)
            v[c] = uniform();
        b->prepare(type, v, inner, x + t * bytes);
    }
    free(v);
    return x;
}

/* Every type, shape, batch and range of rows: the same bits as from the plain layout, and nothing
 * else written. */
TEST(products_of_packed_weights_are_those_of_plain_ones_to_the_bit)
{
    static const size_t rows_of[] = {1, 15, 16, 17, 48, 75};
    static const size_t ns[] = {1, 2, 3, 5, 8, 9, 13, 31, 34, 66};
    enum { ROWS = 75, N = 66 };
    float *plain = malloc(N * ROWS * sizeof(float)), *packed = malloc(N * ROWS * sizeof(float));

    CHECK(plain && packed);
    FOR_EACH_BACKEND(b)
    {

        for (size_t k = 0; k < COUNT(types); k++) {
            if (!backend_reads_packed(b, types[k]))
                continue;
            for (size_t i = 0, inner; (inner = inner_of(types[k], i)) != 0; i++) {
                size_t rows = rows_of[i % COUNT(rows_of)];
                struct tensor w = plain_make(types[k], inner, rows), p = pack(&w);
                char *x = vectors_make(b, w.type, inner, N);

                for (size_t c = 0; c < COUNT(ns); c++) {
                    size_t begin = (c * 7) % rows, end = c % 2 ? rows : (begin + rows + 1) / 2;

                    memset(plain, 0x55, N * ROWS * sizeof(float));
                    memset(packed, 0x55, N * ROWS * sizeof(float));
                    b->matmul(&w, begin, end, x, ns[c], plain, rows);
                    p.stays_cached = c % 3 == 1;
                    b->matmul(&p, begin, end, x, ns[c], packed, rows);
                    if (memcmp(plain, packed, N * ROWS * sizeof(float)) != 0)
                        TEST_FAIL("%s %s inner %zu rows %zu to %zu of %zu, %zu vectors differ",
                                  b->name, dtype_info(w.type)->name, inner, begin, end, rows,
                                  ns[c]);
                }
                mem_free(x);
                mem_free((void *)(uintptr_t)p.data);
                free((void *)(uintptr_t)w.data);
            }
        }
    }
    free(plain);
    free(packed);
}

/* Of the rows from begin to end; were they made at once? */
static bool check_swiglu(const struct backend *b, const struct tensor *gate,
                         const struct tensor *up, size_t begin, size_t end, const char *x, size_t n)
{
    size_t rows = gate->shape[1], bytes = n * rows * sizeof(float);
    float *expected = malloc(bytes), *other = malloc(bytes), *out = malloc(bytes);
    bool at_once;

    CHECK(expected && other && out);
    memset(expected, 0x55, bytes);
    memset(out, 0x55, bytes);
    b->matmul(gate, begin, end, x, n, expected, rows);
    b->matmul(up, begin, end, x, n, other, rows);
    for (size_t t = 0; t < n; t++)
        b->swiglu(expected + t * rows + begin, other + t * rows + begin, end - begin);
    at_once = b->matmul_swiglu(gate, up, begin, end, x, n, out, rows);
    if (at_once && memcmp(expected, out, bytes) != 0)
        TEST_FAIL("%s %s inner %zu rows %zu to %zu of %zu, %zu vectors differ", b->name,
                  dtype_info(gate->type)->name, gate->shape[0], begin, end, rows, n);
    free(expected);
    free(other);
    free(out);
    return at_once;
}

TEST(products_of_gate_and_up_at_once_give_swiglu_of_both_to_the_bit)
{
    enum { ROWS = 75, N = 100 };

    FOR_EACH_BACKEND(b)
    {

        for (size_t k = 0; k < COUNT(types) && b->matmul_swiglu; k++) {
            if (!backend_reads_packed(b, types[k]))
                continue;
            for (size_t i = 0, inner; (inner = inner_of(types[k], i)) != 0; i++) {
                struct tensor w[2] = {plain_make(types[k], inner, ROWS),
                                      plain_make(types[k], inner, ROWS)};
                struct tensor p[2] = {pack(&w[0]), pack(&w[1])};
                char *x = vectors_make(b, types[k], inner, N);

                CHECK(check_swiglu(b, &w[0], &w[1], 0, ROWS, x, N));
                CHECK(check_swiglu(b, &w[0], &w[1], 7, 38, x, 70 + i));
                CHECK(check_swiglu(b, &p[0], &p[1], 0, ROWS, x, N));
                CHECK(check_swiglu(b, &p[0], &p[1], 32, 64, x, 70 + i));
                CHECK(check_swiglu(b, &p[0], &p[1], 7, 38, x, 97));
                CHECK(!check_swiglu(b, &p[0], &p[1], 0, ROWS, x, 1));
                CHECK(!check_swiglu(b, &p[0], &w[1], 0, ROWS, x, N));
                mem_free(x);
                for (size_t g = 0; g < 2; g++) {
                    mem_free((void *)(uintptr_t)p[g].data);
                    free((void *)(uintptr_t)w[g].data);
                }
            }
        }
    }
}

/* Rows [begin, end) of all vectors, as prepare makes them of what matmul and swiglu give; nothing
 * else is written. */
static void check_prepared_swiglu(const struct backend *b, const struct tensor *gate,
                                  const struct tensor *up, size_t begin, size_t end, const char *x,
                                  size_t n, enum dtype down)
{
    size_t rows = gate->shape[1], bytes = b->prepared_bytes(down, rows);
    float *g = malloc(n * rows * sizeof(float)), *u = malloc(n * rows * sizeof(float));
    char *out = mem_aligned(n * bytes), *expected = mem_aligned(bytes);

    CHECK(g && u && out && expected);
    memset(out, 0x55, n * bytes);
    b->matmul(gate, 0, rows, x, n, g, rows);
    b->matmul(up, 0, rows, x, n, u, rows);
    CHECK(b->matmul_swiglu_prepared(gate, up, begin, end, x, n, down, out));
    for (size_t t = 0; t < n; t++) {
        b->swiglu(g + t * rows, u + t * rows, rows);
        memset(expected, 0x55, bytes);
        b->prepare(down, g + t * rows, rows, expected);
        memset(expected, 0x55, 2 * begin);
        memset(expected + 2 * end, 0x55, bytes - 2 * end);
        if (memcmp(expected, out + t * bytes, bytes) != 0)
            TEST_FAIL("%s %s inner %zu rows %zu to %zu of %zu, vector %zu of %zu differs", b->name,
                      dtype_info(gate->type)->name, gate->shape[0], begin, end, rows, t, n);
    }
    free(g);
    free(u);
    mem_free(out);
    mem_free(expected);
}

TEST(swiglu_of_both_is_left_as_prepare_would_to_the_bit)
{
    enum { ROWS = 128, N = 70 };
    static const size_t ns[] = {1, 5, 16, 17, N};

    FOR_EACH_BACKEND(b)
    {

        for (size_t k = 0; k < COUNT(types) && b->matmul_swiglu_prepared; k++) {
            size_t inner = inner_of(types[k], k % 2 ? 7 : 2);
            struct tensor w[2] = {plain_make(types[k], inner, ROWS),
                                  plain_make(types[k], inner, ROWS)};
            struct tensor p[2] = {pack(&w[0]), pack(&w[1])};
            char *x = vectors_make(b, types[k], inner, N);

            for (size_t i = 0; i < COUNT(ns); i++) {
                check_prepared_swiglu(b, &w[0], &w[1], 0, ROWS, x, ns[i], DTYPE_Q8_0);
                check_prepared_swiglu(b, &p[0], &p[1], 0, ROWS, x, ns[i], DTYPE_BF16);
                check_prepared_swiglu(b, &p[0], &p[1], 32, 64, x, ns[i], DTYPE_Q4_0);
            }
            CHECK(b->matmul_swiglu_prepared(&p[0], &p[1], 0, 0, NULL, 0, DTYPE_Q6_K, NULL));
            CHECK(!b->matmul_swiglu_prepared(&p[0], &p[1], 0, ROWS, x, N, DTYPE_F16, NULL));
            CHECK(!b->matmul_swiglu_prepared(&p[0], &p[1], 0, ROWS, x, N, DTYPE_F32, NULL));
            CHECK(!b->matmul_swiglu_prepared(&p[0], &w[1], 0, ROWS, x, N, DTYPE_Q8_0, NULL));
            p[0].shape[1] = p[1].shape[1] = ROWS - 16; /* no whole number of blocks */
            CHECK(!b->matmul_swiglu_prepared(&p[0], &p[1], 0, ROWS - 16, x, N, DTYPE_Q8_0, NULL));
            mem_free(x);
            for (size_t g = 0; g < 2; g++) {
                mem_free((void *)(uintptr_t)p[g].data);
                free((void *)(uintptr_t)w[g].data);
            }
        }
    }
}

/* Some megabytes at once and a few vectors at a time; odd ends share lines with what is there. */
TEST(many_results_are_those_of_few_to_the_bit)
{
    enum { ROWS = 1040, N = 512, SOME = 64, INNER = 96 };
    float *all = mem_aligned(N * ROWS * sizeof(float)),
          *few = mem_aligned(N * ROWS * sizeof(float));
    struct tensor w = plain_make(DTYPE_Q8_0, INNER, ROWS), p = pack(&w);

    CHECK(all && few);
    FOR_EACH_BACKEND(b)
    {
        char *x;

        if (!backend_reads_packed(b, DTYPE_Q8_0))
            continue;
        x = vectors_make(b, DTYPE_Q8_0, INNER, N);
        memset(all, 0x55, N * ROWS * sizeof(float));
        memset(few, 0x55, N * ROWS * sizeof(float));
        b->matmul(&p, 7, ROWS - 3, x, N, all, ROWS);
        for (size_t t = 0; t < N; t += SOME)
            b->matmul(&p, 7, ROWS - 3, x + t * b->prepared_bytes(DTYPE_Q8_0, INNER), SOME,
                      few + t * ROWS, ROWS);
        CHECK(memcmp(all, few, N * ROWS * sizeof(float)) == 0);
        mem_free(x);
    }
    mem_free(all);
    mem_free(few);
    mem_free((void *)(uintptr_t)p.data);
    free((void *)(uintptr_t)w.data);
}

/* Of a file with any bits: a weight that is no number is one in neither layout. */
TEST(weights_of_two_bytes_with_nan_or_infinity_spoil_their_own_row_only)
{
    enum { INNER = 70, ROWS = 40, N = 11, BAD = 21 };
    static const uint16_t bad[2][3] = {{0x7e00, 0x7c00, 0xfc00}, {0x7fc0, 0x7f80, 0xff80}};
    float v[INNER], out[N * ROWS];

    FOR_EACH_BACKEND(b)
    {

        for (size_t k = 0; k < 6 && backend_reads_packed(b, DTYPE_F16); k++) {
            enum dtype type = k < 3 ? DTYPE_F16 : DTYPE_BF16;
            struct tensor w = plain_make(type, INNER, ROWS), p;
            size_t bytes = b->prepared_bytes(type, INNER);
            char *x = mem_aligned(bytes * N);

            CHECK(x);
            memcpy((char *)(uintptr_t)tensor_row(&w, BAD) + 2 * 66, &bad[k / 3][k % 3], 2);
            p = pack(&w);
            for (size_t c = 0; c < INNER; c++)
                v[c] = uniform() + 2;
            for (size_t t = 0; t < N; t++)
                b->prepare(type, v, INNER, x + t * bytes);
            for (size_t n = 1; n <= N; n += 10) {
                for (size_t layout = 0; layout < 2; layout++) {
                    b->matmul(layout ? &p : &w, 0, ROWS, x, n, out, ROWS);
                    for (size_t i = 0; i < n * ROWS; i++)
                        CHECK(isfinite(out[i]) == (i % ROWS != BAD));
                }
            }
            mem_free(x);
            mem_free((void *)(uintptr_t)p.data);
            free((void *)(uintptr_t)w.data);
        }
    }
}
