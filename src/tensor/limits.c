/* SPDX-License-Identifier: Apache-2.0 */
/* limits.c - loops that do one thing as fast as the core can, picked by feature bits. */
#include "tensor/limits.h"

#include "base/clock.h"
#include "tensor/cpu.h"
#include "tensor/tile.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHAINS      12 /* independent sums: more than latency times units */
#define ROUNDS      4000000
#define RUNS        3
#define READ_BYTES  ((size_t)1 << 30)
#define READ_LEAST  ((size_t)64 << 20)
#define READ_PIECES 16

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2   __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define VNNI   __attribute__((target("avx2,avxvnni")))
#define BF16   __attribute__((target("avx512f,avx512bf16")))
#define AMX    __attribute__((target("amx-tile,amx-int8,amx-bf16")))

#define CHAINS_OF(products) (2.0 * (products)*CHAINS * ROUNDS)

static double run_gops(struct pool *pool, pool_fn loop, double operations)
{
    uint64_t start = clock_ns();

    pool_run(pool, loop, NULL);
    return operations * pool_threads(pool) / (clock_seconds_since(start) * 1e9);
}

/* Hides values from the optimiser. */
#define KEEP(v) __asm__ volatile("" : "+v"(v))

#define EACH_CHAIN(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
#define BEGIN(c)      __typeof__(factor) sum##c = factor;
#define STEP(c)           \
    sum##c = ADD(sum##c); \
    KEEP(sum##c);
#define END(c) KEEP(sum##c);

/* Independent sums, each a register, to which ADD adds products of `factor`, which the compiler has
 * to take for another number each time. */
#define SUMS_LOOP(name, TARGET, factors)                              \
    TARGET static void name(void *arg, unsigned part, unsigned parts) \
    {                                                                 \
        __typeof__(factors) factor = factors;                         \
        EACH_CHAIN(BEGIN)                                             \
                                                                      \
        (void)arg, (void)part, (void)parts;                           \
        for (long i = 0; i < ROUNDS; i++) {                           \
            KEEP(factor);                                             \
            EACH_CHAIN(STEP)                                          \
        }                                                             \
        EACH_CHAIN(END)                                               \
    }
#define ADD(sum) _mm512_fmadd_ps(factor, factor, sum)
SUMS_LOOP(f32_512, AVX512, _mm512_set1_ps(0.5f))
#undef ADD
#define ADD(sum) _mm256_fmadd_ps(factor, factor, sum)
SUMS_LOOP(f32_256, AVX2, _mm256_set1_ps(0.5f))
#undef ADD
#define ADD(sum) _mm512_dpbusd_epi32(sum, factor, factor)
SUMS_LOOP(int8_512, AVX512, _mm512_set1_epi8(3))
#undef ADD
#define ADD(sum) _mm256_dpbusd_avx_epi32(sum, factor, factor)
SUMS_LOOP(int8_256_vnni, VNNI, _mm256_set1_epi8(3))
#undef ADD
/* The product of each sum is its own, or one would do for all. */
#define ADD(sum) _mm256_add_epi16(sum, _mm256_maddubs_epi16(factor, sum))
SUMS_LOOP(int8_256, AVX2, _mm256_set1_epi8(3))
#undef ADD
#define ADD(sum) (__m512i) _mm512_dpbf16_ps((__m512)sum, (__m512bh)factor, (__m512bh)factor)
SUMS_LOOP(bf16_512, BF16, _mm512_set1_epi32(0x3c003c00))

#define TILE_ROUNDS 400000
#define TILE_GOPS(bits) \
    (2.0 * 4 * TILE_ROUNDS * TILE_ROWS * TILE_ROWS * (TILE_ROW_BYTES * 8 / (bits)))

/* Sums in tiles 0 to 3, factors in 4 to 7. */
AMX static void tiles_begin(void)
{
    static const char factors[TILE_ROWS * TILE_ROW_BYTES];
    struct tile_config c = tile_config_full();

    TILE_CONFIG_IS_READ(&c);
    _tile_loadconfig(&c);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, factors, TILE_ROW_BYTES);
    _tile_loadd(5, factors, TILE_ROW_BYTES);
    _tile_loadd(6, factors, TILE_ROW_BYTES);
    _tile_loadd(7, factors, TILE_ROW_BYTES);
}

#define TILE_LOOP(name, multiply)                                  \
    AMX static void name(void *arg, unsigned part, unsigned parts) \
    {                                                              \
        (void)arg, (void)part, (void)parts;                        \
        tiles_begin();                                             \
        for (long i = 0; i < TILE_ROUNDS; i++) {                   \
            multiply(0, 4, 6);                                     \
            multiply(1, 4, 7);                                     \
            multiply(2, 5, 6);                                     \
            multiply(3, 5, 7);                                     \
        }                                                          \
        _tile_release();                                           \
    }
TILE_LOOP(int8_tiles, _tile_dpbssd)
TILE_LOOP(bf16_tiles, _tile_dpbf16ps)

/* Asks for what lies `ahead` bytes further on; 0: nothing. */
AVX512 static inline void read_512(const char *p, size_t bytes, const size_t ahead)
{
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                      _mm512_setzero_si512()};

    for (size_t i = 0; i + 256 <= bytes; i += 256) {
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            if (ahead)
                _mm_prefetch(p + i + ahead + 64 * c, _MM_HINT_T0);
            sum[c] = _mm512_add_epi64(sum[c], _mm512_loadu_si512(p + i + 64 * c));
        }
    }
    for (int c = 0; c < 4; c++)
        KEEP(sum[c]);
}

AVX2 static void read_256(const char *p, size_t bytes)
{
    __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                      _mm256_setzero_si256()};

    for (size_t i = 0; i + 128 <= bytes; i += 128) {
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++)
            sum[c] = _mm256_add_epi64(sum[c], _mm256_loadu_si256((const void *)(p + i + 32 * c)));
    }
    for (int c = 0; c < 4; c++)
        KEEP(sum[c]);
}

double limit_f32_gflops(struct pool *pool)
{
    return cpu_has_avx512vnni() ? run_gops(pool, f32_512, CHAINS_OF(16))
           : cpu_has_avx2()     ? run_gops(pool, f32_256, CHAINS_OF(8))
                                : 0;
}

double limit_bf16_gflops(struct pool *pool)
{
    return cpu_has_amx()          ? run_gops(pool, bf16_tiles, TILE_GOPS(16))
           : cpu_has_avx512bf16() ? run_gops(pool, bf16_512, CHAINS_OF(32))
                                  : 0;
}

double limit_int8_gops(struct pool *pool)
{
    return cpu_has_amx()          ? run_gops(pool, int8_tiles, TILE_GOPS(8))
           : cpu_has_avx512vnni() ? run_gops(pool, int8_512, CHAINS_OF(64))
           : cpu_has_avx2vnni()   ? run_gops(pool, int8_256_vnni, CHAINS_OF(32))
           : cpu_has_avx2()       ? run_gops(pool, int8_256, CHAINS_OF(32))
                                  : 0;
}

#else

double limit_f32_gflops(struct pool *pool)
{
    (void)pool;
    return 0;
}

double limit_bf16_gflops(struct pool *pool)
{
    (void)pool;
    return 0;
}

double limit_int8_gops(struct pool *pool)
{
    (void)pool;
    return 0;
}

#endif

/* ---- memory ---- */

struct memory {
    const char *at;
    size_t bytes;
    bool asks_ahead;
};

static void read_plain(const char *p, size_t bytes)
{
    const uint64_t *words = (const void *)p;
    uint64_t sum[8] = {0};

    for (size_t i = 0; i + 8 <= bytes / 8; i += 8)
        for (int c = 0; c < 8; c++)
            sum[c] += words[i + (unsigned)c];
    for (int c = 0; c < 8; c++)
        __asm__ volatile("" : "+r"(sum[c]));
}

static void read_part(void *arg, unsigned part, unsigned parts)
{
    const struct memory *m = arg;
    size_t begin, end;

    pool_share(m->bytes, 4096, part, parts, &begin, &end);
#if defined(__x86_64__)
    if (cpu_has_avx512vnni()) {
        if (m->asks_ahead)
            read_512(m->at + begin, end - begin, 2048);
        else
            read_512(m->at + begin, end - begin, 0);
        return;
    }
    if (cpu_has_avx2()) {
        read_256(m->at + begin, end - begin);
        return;
    }
#endif
    read_plain(m->at + begin, end - begin);
}

static double read_gbs(struct pool *pool, const char *at, size_t bytes, bool asks_ahead)
{
    struct memory m = {at, bytes, asks_ahead};
    uint64_t start = clock_ns();

    pool_run(pool, read_part, &m);
    return (double)bytes / (clock_seconds_since(start) * 1e9);
}

/* Intel's processors are faster when they are asked, AMD's when they are not. */
double limit_read_gbs(struct pool *pool, const void *memory, size_t bytes)
{
    return fmax(read_gbs(pool, memory, bytes, false), read_gbs(pool, memory, bytes, true));
}

/* Each thread touches first what it will read: memory of its own node, where there are several. */
static void touch_part(void *arg, unsigned part, unsigned parts)
{
    const struct memory *m = arg;
    size_t begin, end;

    pool_share(m->bytes, 4096, part, parts, &begin, &end);
    memset((char *)(uintptr_t)m->at + begin, 1, end - begin);
}

void limit_memory_init(struct limit_memory *m, struct pool *pool, size_t memory_max_bytes)
{
    struct memory all = {.bytes = READ_BYTES};
    void *at = MAP_FAILED;

    *m = (struct limit_memory){0};
    for (; all.bytes >= READ_LEAST; all.bytes /= 2) {
        if (all.bytes > memory_max_bytes)
            continue;
        at = mmap(NULL, all.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at != MAP_FAILED)
            break;
    }
    if (at == MAP_FAILED)
        return;
    madvise(at, all.bytes, MADV_HUGEPAGE); /* else the walk through page tables is measured too */
    all.at = at;
    pool_run(pool, touch_part, &all);
    *m = (struct limit_memory){.at = at, .bytes = all.bytes};
}

void limit_memory_fini(struct limit_memory *m)
{
    if (m->at)
        munmap(m->at, m->bytes);
    m->at = NULL;
}

/* The next piece. */
static double read_next(struct limit_memory *m, struct pool *pool, bool asks_ahead)
{
    size_t bytes = m->bytes / READ_PIECES;
    const char *at = m->at + m->next;

    m->next = (m->next + bytes) % m->bytes;
    return read_gbs(pool, at, bytes, asks_ahead);
}

/* A piece each, or the second time it would come from a cache. */
double limit_memory_read(struct limit_memory *m, struct pool *pool)
{
    return m->at ? fmax(read_next(m, pool, false), read_next(m, pool, true)) : 0;
}

/* ---- all together ---- */

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double runs[RUNS])
{
    qsort(runs, RUNS, sizeof(runs[0]), by_number);
    return runs[RUNS / 2];
}

static double median_of(double (*limit)(struct pool *), struct pool *pool)
{
    double runs[RUNS];

    for (int i = 0; i < RUNS; i++)
        runs[i] = limit(pool);
    return median(runs);
}

void limits_measure(struct limits *l, struct pool *pool, struct limit_memory *m)
{
    double read[RUNS];

    for (int i = 0; i < RUNS; i++)
        read[i] = limit_memory_read(m, pool);
    *l = (struct limits){
        .read_gbs = median(read),
        .int8_gops = median_of(limit_int8_gops, pool),
        .bf16_gflops = median_of(limit_bf16_gflops, pool),
        .f32_gflops = median_of(limit_f32_gflops, pool),
    };
}
