/* SPDX-License-Identifier: Apache-2.0 */
/* iquant.c - see iquant.h
 *
 * A super-block is unpacked into codes, and codes become values; the other way round, points are
 * sought for a few scales, each by looking at all of them, and the best scale is rounded.  That is
 * slow (a second for some hundred thousand values) and good enough to make such files for tests. */
#include "tensor/iquant.h"

#include "tensor/fit.h"
#include "tensor/lattice.h"

#include <math.h>
#include <string.h>

#define EIGHTS (K_BLOCK / 8)

struct codes {
    uint16_t d;                  /* f16 */
    uint8_t scale[K_BLOCK / 16]; /* of each 16, or of each 32 */
    uint16_t point[K_BLOCK / 4]; /* of each eight, or of each four */
    uint8_t signs[EIGHTS];       /* bit i: value i of eight is negative */
    bool down[EIGHTS];           /* moved by - 1/8 instead of 1/8 */
};

struct kind {
    enum lattice_id lattice;
    size_t scale_n; /* values that share a small scale */
    int scale_max;
    float factor; /* the scale is d * factor * (s + 1/2) */
    bool moves;   /* by an eighth, and has no signs */
    bool is_even; /* the number of negative values in eight */
    size_t move_n;
    const int8_t *levels; /* below */
    int count, shift;     /* of points with signs: so many, 0, 1, 2 .. when shifted down */
    size_t block_bytes;
    void (*unpack)(const void *block, struct codes *c);
    void (*pack)(const struct codes *c, void *block);
};

/* ---- from codes ---- */

static float step_of(const struct kind *k, uint16_t d, unsigned s)
{
    return f16_to_f32(d) * (k->factor * ((float)s + 0.5f));
}

static void eight_to_f32(const struct kind *k, const struct codes *c, size_t e, float *out)
{
    const struct lattice *l = lattice_get(k->lattice);
    float step = step_of(k, c->d, c->scale[e * 8 / k->scale_n]);
    float move = !k->moves ? 0 : c->down[e] ? -0.125f : 0.125f;

    for (size_t i = 0; i < 8; i++) {
        size_t point = c->point[(8 * e + i) / l->dims];
        float v = step * ((float)l->points[point * l->dims + i % l->dims] + move);

        out[i] = c->signs[e] >> i & 1 ? -v : v;
    }
}

static void to_row(const struct kind *k, const void *blocks, float *out, size_t n)
{
    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += k->block_bytes, out += K_BLOCK) {
        struct codes c = {.d = 0};

        k->unpack(at, &c);
        for (size_t e = 0; e < EIGHTS; e++)
            eight_to_f32(k, &c, e, out + 8 * e);
    }
}

/* ---- to codes ---- */

/* The point nearest to x / step, with weights. */
static size_t nearest_point(const struct lattice *l, const float *x, const float *weight,
                            float inverse, float move)
{
    float least = HUGE_VALF;
    size_t best = 0;

    for (size_t p = 0; p < l->count; p++) {
        const int8_t *at = l->points + p * l->dims;
        float sum = 0;

        for (size_t i = 0; i < l->dims; i++) {
            float miss = x[i] * inverse - move - (float)at[i];

            sum += weight[i] * miss * miss;
        }
        if (sum < least) {
            least = sum;
            best = p;
        }
    }
    return best;
}

/* Sizes and signs of eight values: where the number of negative ones must be even, the smallest
 * gets the other sign, and a size below zero. */
static uint8_t split_signs(const struct kind *k, const float *x, float size[8])
{
    size_t smallest = 0, negative = 0;
    uint8_t signs = 0;

    for (size_t i = 0; i < 8; i++) {
        signs |= (uint8_t)((x[i] < 0 && !k->moves) << i);
        negative += x[i] < 0;
        size[i] = k->moves ? x[i] : fabsf(x[i]);
        if (fabsf(x[i]) < fabsf(x[smallest]))
            smallest = i;
    }
    if (k->is_even && negative % 2) {
        signs ^= (uint8_t)(1u << smallest);
        size[smallest] = -size[smallest];
    }
    return signs;
}

/* Chooses points for eight values at a step; returns the weighted squared error, and adds what the
 * best step follows from. */
static float choose_eight(const struct kind *k, const float *x, const float *weight, float step,
                          struct codes *c, size_t e, double *vq, double *qq)
{
    const struct lattice *l = lattice_get(k->lattice);
    float size[8], move = !k->moves ? 0 : c->down[e] ? -0.125f : 0.125f, error = 0;

    c->signs[e] = split_signs(k, x, size);
    for (size_t i = 0; i < 8; i += l->dims) {
        size_t p = nearest_point(l, size + i, weight + i, 1 / step, move);

        c->point[(8 * e + i) / l->dims] = (uint16_t)p;
        for (size_t j = 0; j < l->dims; j++) {
            float q = (float)l->points[p * l->dims + j] + move, miss = size[i + j] - step * q;

            error += weight[i + j] * miss * miss;
            *vq += (double)(weight[i + j] * size[i + j] * q);
            *qq += (double)(weight[i + j] * q * q);
        }
    }
    return error;
}

/* Points for the n values from eight `e` on, moved up or down as errs less. */
static float choose(const struct kind *k, const float *x, const float *weight, size_t n, float step,
                    struct codes *c, size_t e, double *vq, double *qq)
{
    float errors[2] = {0, 0};
    double sums[2][2] = {{0}};

    for (int down = 1; down >= 0; down--)
        for (size_t i = 0; i < n && (k->moves || !down); i += 8) {
            c->down[e + i / 8] = down;
            errors[down] += choose_eight(k, x + i, weight + i, step, c, e + i / 8, &sums[down][0],
                                         &sums[down][1]);
        }
    if (k->moves && errors[1] < errors[0]) {
        double none[2] = {0};

        for (size_t i = 0; i < n; i += 8) {
            c->down[e + i / 8] = true;
            choose_eight(k, x + i, weight + i, step, c, e + i / 8, &none[0], &none[1]);
        }
        *vq += sums[1][0];
        *qq += sums[1][1];
        return errors[1];
    }
    *vq += sums[0][0];
    *qq += sums[0][1];
    return errors[0];
}

static float choose_all(const struct kind *k, const float *x, const float *weight, float step,
                        struct codes *c, size_t e, double *vq, double *qq)
{
    size_t each = k->moves && k->move_n < k->scale_n ? k->move_n : k->scale_n;
    float error = 0;

    *vq = *qq = 0;
    for (size_t i = 0; i < k->scale_n; i += each)
        error += choose(k, x + i, weight + i, each, step, c, e + i / 8, vq, qq);
    return error;
}

/* The step for the values of one small scale: a few parts of the largest of them. */
static float fit_step(const struct kind *k, const float *x, const float *weight, struct codes *c,
                      size_t e)
{
    static const float tops[] = {0.7f, 0.85f, 1.0f};
    const struct lattice *l = lattice_get(k->lattice);
    float most = 0, top = (float)l->points[l->count * l->dims - 1], least = HUGE_VALF, best = 0;

    for (size_t i = 0; i < k->scale_n; i++)
        most = fmaxf(most, fabsf(x[i]));
    if (most < 1e-30f)
        return 0;
    top = top < 1 ? 1 : top;
    best = most / top; /* squares may overflow */
    for (size_t t = 0; t < sizeof(tops) / sizeof(*tops); t++) {
        float step = most / top * tops[t], error;
        double vq, qq;

        error = choose_all(k, x, weight, step, c, e, &vq, &qq);
        /* sum w (x - s q)^2 is least at s = vq / qq, by (step - s)^2 qq less than at step */
        if (qq > 0 && vq > 0) {
            float s = (float)(vq / qq);

            error -= (step - s) * (step - s) * (float)qq;
            step = s;
        }
        if (error < least) {
            least = error;
            best = step;
        }
    }
    return best;
}

static void find_weights(const float *x, const float *importance, float *weight)
{
    float squares = 0;

    for (size_t i = 0; i < K_BLOCK; i++)
        squares += x[i] * x[i];
    for (size_t i = 0; i < K_BLOCK; i++)
        weight[i] = importance ? importance[i] * sqrtf(squares / K_BLOCK + x[i] * x[i]) : 1;
}

static bool all_finite(const float *x)
{
    for (size_t i = 0; i < K_BLOCK; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static void to_codes(const struct kind *k, const float *x, const float *importance, struct codes *c)
{
    float weight[K_BLOCK], steps[K_BLOCK / 16], most = 0, d;
    size_t parts = K_BLOCK / k->scale_n;

    *c = (struct codes){.d = f32_to_f16(NAN)};
    if (!all_finite(x))
        return;
    find_weights(x, importance, weight);
    for (size_t j = 0; j < parts; j++) {
        size_t from = j * k->scale_n;

        steps[j] = fit_step(k, x + from, weight + from, c, from / 8);
        most = fmaxf(most, steps[j]);
    }
    d = f16_to_f32(f32_to_f16(most / (k->factor * ((float)k->scale_max + 0.5f))));
    if (!isfinite(d)) {
        *c = (struct codes){.d = f32_to_f16(NAN)};
        return;
    }
    c->d = f32_to_f16(d);
    for (size_t j = 0; j < parts && d > 0; j++) {
        size_t from = j * k->scale_n;
        double vq, qq;

        c->scale[j] =
            (uint8_t)fit_nearest(steps[j] / (d * k->factor) - 0.5f, 0, (float)k->scale_max);
        choose_all(k, x + from, weight + from, step_of(k, c->d, c->scale[j]), c, from / 8, &vq,
                   &qq);
    }
}

static void from_row(const struct kind *k, const float *x, const float *importance, void *blocks,
                     size_t n)
{
    for (char *at = blocks; n > 0; n -= K_BLOCK, at += k->block_bytes, x += K_BLOCK) {
        struct codes c;

        to_codes(k, x, importance, &c);
        memset(at, 0, k->block_bytes);
        k->pack(&c, at);
        importance = importance ? importance + K_BLOCK : NULL;
    }
}

/* ---- the types ---- */

static uint8_t with_parity(unsigned seven)
{
    return (uint8_t)(seven | (unsigned)__builtin_parity(seven) << 7);
}

static void iq1_s_unpack(const void *block, struct codes *c)
{
    struct block_iq1_s b;

    memcpy(&b, block, sizeof(b));
    c->d = b.d;
    for (size_t e = 0; e < EIGHTS; e++) {
        unsigned high = b.high[e / 4];

        c->point[e] = (uint16_t)(b.q[e] | (high >> 3 * (e % 4) & 7) << 8);
        c->down[e] = high >> 15;
        c->scale[e / 4] = high >> 12 & 7;
    }
}

static void iq1_s_pack(const struct codes *c, void *block)
{
    struct block_iq1_s b = {.d = c->d};

    for (size_t e = 0; e < EIGHTS; e++) {
        b.q[e] = (uint8_t)c->point[e];
        b.high[e / 4] |=
            (uint16_t)(c->point[e] >> 8 << 3 * (e % 4) | c->down[e] << 15 | c->scale[e / 4] << 12);
    }
    memcpy(block, &b, sizeof(b));
}

/* The scale of all: the upper four bits of the four words, lowest first. */
static void iq1_m_unpack(const void *block, struct codes *c)
{
    struct block_iq1_m b;

    memcpy(&b, block, sizeof(b));
    for (size_t i = 0; i < 4; i++)
        c->d |= (uint16_t)(b.s[i] >> 12 << 4 * i);
    for (size_t e = 0; e < EIGHTS; e++) {
        unsigned high = b.high[e / 2] >> 4 * (e % 2) & 15u;

        c->point[e] = (uint16_t)(b.q[e] | (high & 7) << 8);
        c->down[e] = high >> 3;
        c->scale[e / 2] = b.s[e / 8] >> 3 * (e / 2 % 4) & 7;
    }
}

static void iq1_m_pack(const struct codes *c, void *block)
{
    struct block_iq1_m b = {.q = {0}};

    for (size_t i = 0; i < 4; i++)
        b.s[i] = (uint16_t)((c->d >> 4 * i & 15) << 12);
    for (size_t e = 0; e < EIGHTS; e++) {
        b.q[e] = (uint8_t)c->point[e];
        b.high[e / 2] |= (uint8_t)((c->point[e] >> 8 | c->down[e] << 3) << 4 * (e % 2));
        b.s[e / 8] |= (uint16_t)(c->scale[e / 2] << 3 * (e / 2 % 4));
    }
    memcpy(block, &b, sizeof(b));
}

/* Of 32 values four bytes name the points, and 32 bits hold four times seven signs and a scale. */
static void iq2_xxs_unpack(const void *block, struct codes *c)
{
    struct block_iq2_xxs b;

    memcpy(&b, block, sizeof(b));
    c->d = b.d;
    for (size_t e = 0; e < EIGHTS; e++) {
        const uint16_t *q = b.q + e / 4 * 4;
        uint32_t rest = (uint32_t)q[2] | (uint32_t)q[3] << 16;

        c->point[e] = q[e % 4 / 2] >> 8 * (e % 2) & 255;
        c->signs[e] = with_parity(rest >> 7 * (e % 4) & 127);
        c->scale[e / 4] = (uint8_t)(rest >> 28);
    }
}

static void iq2_xxs_pack(const struct codes *c, void *block)
{
    struct block_iq2_xxs b = {.d = c->d};

    for (size_t j = 0; j < EIGHTS / 4; j++) {
        uint32_t rest = (uint32_t)c->scale[j] << 28;

        for (size_t i = 0; i < 4; i++) {
            rest |= (uint32_t)(c->signs[4 * j + i] & 127) << 7 * i;
            b.q[4 * j + i / 2] |= (uint16_t)(c->point[4 * j + i] << 8 * (i % 2));
        }
        b.q[4 * j + 2] = (uint16_t)rest;
        b.q[4 * j + 3] = (uint16_t)(rest >> 16);
    }
    memcpy(block, &b, sizeof(b));
}

static void iq2_xs_unpack(const void *block, struct codes *c)
{
    struct block_iq2_xs b;

    memcpy(&b, block, sizeof(b));
    c->d = b.d;
    for (size_t e = 0; e < EIGHTS; e++) {
        c->point[e] = b.q[e] & 511;
        c->signs[e] = with_parity(b.q[e] >> 9);
        c->scale[e / 2] = b.s[e / 4] >> 4 * (e / 2 % 2) & 15;
    }
}

static void iq2_xs_pack(const struct codes *c, void *block)
{
    struct block_iq2_xs b = {.d = c->d};

    for (size_t e = 0; e < EIGHTS; e++) {
        b.q[e] = (uint16_t)(c->point[e] | (c->signs[e] & 127) << 9);
        b.s[e / 4] |= (uint8_t)(c->scale[e / 2] << 4 * (e / 2 % 2));
    }
    memcpy(block, &b, sizeof(b));
}

static void iq2_s_unpack(const void *block, struct codes *c)
{
    struct block_iq2_s b;

    memcpy(&b, block, sizeof(b));
    c->d = b.d;
    for (size_t e = 0; e < EIGHTS; e++) {
        c->point[e] = (uint16_t)(b.q[e] | (b.high[e / 4] >> 2 * (e % 4) & 3) << 8);
        c->signs[e] = b.signs[e];
        c->scale[e / 2] = b.s[e / 4] >> 4 * (e / 2 % 2) & 15;
    }
}

static void iq2_s_pack(const struct codes *c, void *block)
{
    struct block_iq2_s b = {.d = c->d};

    for (size_t e = 0; e < EIGHTS; e++) {
        b.q[e] = (uint8_t)c->point[e];
        b.high[e / 4] |= (uint8_t)(c->point[e] >> 8 << 2 * (e % 4));
        b.signs[e] = c->signs[e];
        b.s[e / 4] |= (uint8_t)(c->scale[e / 2] << 4 * (e / 2 % 2));
    }
    memcpy(block, &b, sizeof(b));
}

static void iq3_xxs_unpack(const void *block, struct codes *c)
{
    struct block_iq3_xxs b;

    memcpy(&b, block, sizeof(b));
    c->d = b.d;
    for (size_t e = 0; e < EIGHTS; e++) {
        uint32_t rest;

        memcpy(&rest, b.s + e / 4 * 4, 4);
        c->point[2 * e] = b.q[2 * e];
        c->point[2 * e + 1] = b.q[2 * e + 1];
        c->signs[e] = with_parity(rest >> 7 * (e % 4) & 127);
        c->scale[e / 4] = (uint8_t)(rest >> 28);
    }
}

static void iq3_xxs_pack(const struct codes *c, void *block)
{
    struct block_iq3_xxs b = {.d = c->d};

    for (size_t j = 0; j < EIGHTS / 4; j++) {
        uint32_t rest = (uint32_t)c->scale[j] << 28;

        for (size_t i = 0; i < 4; i++)
            rest |= (uint32_t)(c->signs[4 * j + i] & 127) << 7 * i;
        memcpy(b.s + 4 * j, &rest, 4);
    }
    for (size_t p = 0; p < K_BLOCK / 4; p++)
        b.q[p] = (uint8_t)c->point[p];
    memcpy(block, &b, sizeof(b));
}

static void iq3_s_unpack(const void *block, struct codes *c)
{
    struct block_iq3_s b;

    memcpy(&b, block, sizeof(b));
    c->d = b.d;
    for (size_t p = 0; p < K_BLOCK / 4; p++)
        c->point[p] = (uint16_t)(b.q[p] | (b.high[p / 8] >> p % 8 & 1) << 8);
    for (size_t e = 0; e < EIGHTS; e++) {
        c->signs[e] = b.signs[e];
        c->scale[e / 4] = b.s[e / 8] >> 4 * (e / 4 % 2) & 15;
    }
}

static void iq3_s_pack(const struct codes *c, void *block)
{
    struct block_iq3_s b = {.d = c->d};

    for (size_t p = 0; p < K_BLOCK / 4; p++) {
        b.q[p] = (uint8_t)c->point[p];
        b.high[p / 8] |= (uint8_t)(c->point[p] >> 8 << p % 8);
    }
    for (size_t e = 0; e < EIGHTS; e++) {
        b.signs[e] = c->signs[e];
        b.s[e / 8] |= e % 4 == 0 ? (uint8_t)(c->scale[e / 4] << 4 * (e / 4 % 2)) : 0;
    }
    memcpy(block, &b, sizeof(b));
}

/* Of single values.  Eighths of points that are moved down, then up; of others the negative levels,
 * then the same without sign. */
static const int8_t iq1_levels[16] = {-9, -1, 7, -7, 1, 9};
static const int8_t iq2_levels[16] = {-8, -25, -43, 8, 25, 43};
static const int8_t iq3_xxs_levels[16] = {-4, -12, -20, -28, -36, -44, -52, -62,
                                          4,  12,  20,  28,  36,  44,  52,  62};
static const int8_t iq3_s_levels[16] = {-1, -3, -5, -7, -9, -11, -13, -15,
                                        1,  3,  5,  7,  9,  11,  13,  15};

/* lattice, values of a scale, its maximum and factor, moves, even signs, values moved alike,
 * levels, their count and shift */
#define IQUANT(type, ...)                                                                 \
    static const struct kind type##_kind = {__VA_ARGS__, sizeof(struct block_##type),     \
                                            type##_unpack, type##_pack};                  \
    void type##_to_row(const void *blocks, float *out, size_t n)                          \
    {                                                                                     \
        to_row(&type##_kind, blocks, out, n);                                             \
    }                                                                                     \
    void type##_from_row(const float *x, const float *importance, void *blocks, size_t n) \
    {                                                                                     \
        from_row(&type##_kind, x, importance, blocks, n);                                 \
    }
IQUANT(iq1_s, LATTICE_IQ1, 32, 7, 2, true, false, 32, iq1_levels, 0, 0)
IQUANT(iq1_m, LATTICE_IQ1, 16, 7, 2, true, false, 8, iq1_levels, 0, 0)
IQUANT(iq2_xxs, LATTICE_IQ2_XXS, 32, 15, 0.25f, false, true, 0, iq2_levels, 3, 4)
IQUANT(iq2_xs, LATTICE_IQ2_XS, 16, 15, 0.25f, false, true, 0, iq2_levels, 3, 4)
IQUANT(iq2_s, LATTICE_IQ2_S, 16, 15, 0.25f, false, false, 0, iq2_levels, 3, 4)
IQUANT(iq3_xxs, LATTICE_IQ3_XXS, 32, 15, 0.5f, false, true, 0, iq3_xxs_levels, 8, 3)
IQUANT(iq3_s, LATTICE_IQ3_S, 32, 15, 2, false, false, 0, iq3_s_levels, 8, 1)

static const struct kind *kind_of(enum dtype type)
{
    static const struct kind *const kinds[DTYPE_COUNT] = {
        [DTYPE_IQ1_S] = &iq1_s_kind,   [DTYPE_IQ1_M] = &iq1_m_kind, [DTYPE_IQ2_XXS] = &iq2_xxs_kind,
        [DTYPE_IQ2_XS] = &iq2_xs_kind, [DTYPE_IQ2_S] = &iq2_s_kind, [DTYPE_IQ3_XXS] = &iq3_xxs_kind,
        [DTYPE_IQ3_S] = &iq3_s_kind,
    };

    return kinds[type];
}

/* ---- value by value ---- */

void iquant_levels(enum dtype type, struct iquant_levels *levels)
{
    const struct kind *k = kind_of(type);

    memcpy(levels->level, k->levels, sizeof(levels->level));
    levels->factor = k->factor / (k->moves ? 16 : 2);
}

static void eight_places(const struct kind *k, const struct codes *c, size_t e, uint8_t out[8])
{
    const struct lattice *l = lattice_get(k->lattice);
    int8_t level[8];

    if (l->dims == 8)
        memcpy(level, l->points + 8 * c->point[e], 8);
    for (size_t i = 0; i < 2 && l->dims == 4; i++)
        memcpy(level + 4 * i, l->points + 4 * c->point[2 * e + i], 4);
    for (size_t i = 0; i < 8 && k->moves; i++)
        out[i] = (uint8_t)(level[i] + 1 + 3 * !c->down[e]);
    for (size_t i = 0; i < 8 && !k->moves; i++)
        out[i] = (uint8_t)((level[i] >> k->shift) + k->count * !(c->signs[e] >> i & 1));
}

void iquant_places(enum dtype type, const void *block, struct iquant_places *places)
{
    const struct kind *k = kind_of(type);
    struct codes c = {.d = 0};

    k->unpack(block, &c);
    places->d = c.d;
    for (size_t i = 0; i < K_BLOCK / 16; i++)
        places->scale[i] = c.scale[i * 16 / k->scale_n];
    for (size_t e = 0; e < EIGHTS; e++)
        eight_places(k, &c, e, places->place + 8 * e);
}

_Static_assert(sizeof(struct block_iq1_s) == 50 && sizeof(struct block_iq1_m) == 56 &&
                   sizeof(struct block_iq2_xxs) == 66 && sizeof(struct block_iq2_xs) == 74 &&
                   sizeof(struct block_iq2_s) == 82 && sizeof(struct block_iq3_xxs) == 98 &&
                   sizeof(struct block_iq3_s) == 110,
               "blocks are laid out as in files");
