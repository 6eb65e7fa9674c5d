/* SPDX-License-Identifier: Apache-2.0 */
/* limits.c - loops that do one thing as fast as the core can, picked by feature bits. */
#include "limits.h"

#include "base/clock.h"
#include "tensor/cpu.h"

#include <stddef.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2   __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vnni")))

#define CHAINS 12 /* independent sums: more than latency times units */
#define ROUNDS 4000000

/* Hides values from the optimiser. */
#define KEEP(v) __asm__ volatile("" : "+v"(v))

AVX512 static double fma_512(void)
{
    __m512 sum[CHAINS], a = _mm512_set1_ps(1e-3f), b = _mm512_set1_ps(0.5f);
    uint64_t start = clock_ns();

    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_setzero_ps();
    for (long i = 0; i < ROUNDS; i++) {
        KEEP(a);
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm512_fmadd_ps(sum[c], b, a);
    }
    for (int c = 0; c < CHAINS; c++)
        KEEP(sum[c]);
    return 2.0 * 16 * CHAINS * ROUNDS / (clock_seconds_since(start) * 1e9);
}

AVX2 static double fma_256(void)
{
    __m256 sum[CHAINS], a = _mm256_set1_ps(1e-3f), b = _mm256_set1_ps(0.5f);
    uint64_t start = clock_ns();

    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm256_setzero_ps();
    for (long i = 0; i < ROUNDS; i++) {
        KEEP(a);
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm256_fmadd_ps(sum[c], b, a);
    }
    for (int c = 0; c < CHAINS; c++)
        KEEP(sum[c]);
    return 2.0 * 8 * CHAINS * ROUNDS / (clock_seconds_since(start) * 1e9);
}

AVX512 static double int8_512(void)
{
    __m512i sum[CHAINS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
    uint64_t start = clock_ns();

    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_setzero_si512();
    for (long i = 0; i < ROUNDS; i++) {
        KEEP(a);
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm512_dpbusd_epi32(sum[c], a, b);
    }
    for (int c = 0; c < CHAINS; c++)
        KEEP(sum[c]);
    return 2.0 * 64 * CHAINS * ROUNDS / (clock_seconds_since(start) * 1e9);
}

AVX512 static void read_512(const char *p, unsigned long bytes)
{
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                      _mm512_setzero_si512()};

    for (unsigned long i = 0; i + 256 <= bytes; i += 256) {
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            _mm_prefetch(p + i + 2048 + 64 * c, _MM_HINT_T0);
            sum[c] = _mm512_add_epi64(sum[c], _mm512_loadu_si512(p + i + 64 * c));
        }
    }
    for (int c = 0; c < 4; c++)
        KEEP(sum[c]);
}

double limit_fma_gflops(void)
{
    return cpu_has_avx512vnni() ? fma_512() : cpu_has_avx2() ? fma_256() : 0;
}

double limit_int8_gops(void)
{
    return cpu_has_avx512vnni() ? int8_512() : 0;
}

#else

double limit_fma_gflops(void)
{
    return 0;
}

double limit_int8_gops(void)
{
    return 0;
}

#endif

static void read_plain(const char *p, unsigned long bytes)
{
    const uint64_t *words = (const void *)p;
    uint64_t sum[8] = {0};

    for (unsigned long i = 0; i + 8 <= bytes / 8; i += 8)
        for (int c = 0; c < 8; c++)
            sum[c] += words[i + (unsigned)c];
    for (int c = 0; c < 8; c++)
        __asm__ volatile("" : "+r"(sum[c]));
}

double limit_read_gbs(const void *memory, unsigned long bytes)
{
    uint64_t start = clock_ns();

#if defined(__x86_64__)
    if (cpu_has_avx512vnni())
        read_512(memory, bytes);
    else
#endif
        read_plain(memory, bytes);
    return (double)bytes / (clock_seconds_since(start) * 1e9);
}
