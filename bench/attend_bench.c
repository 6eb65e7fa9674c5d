/* SPDX-License-Identifier: Apache-2.0 */
/* attend_bench.c - how near attention comes to the limits of this machine, on one thread.
 *
 *     attend_bench [HEAD_DIM [HEADS [BACKEND [f16|q8_0]]]]       HEADS that share one KV head
 *
 * Prefill: 1024 tokens, causal, by multiplications that are not masked.  Decode: one position
 * behind 4096 keys, in pages that are as far apart as those of a model of 30 layers and 3 KV heads,
 * so that everything comes from memory. Processor time of this thread, medians of ROUNDS. */
#include "tensor/backend.h"
#include "tensor/limits.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define ROUNDS    9
#define PREFILL   1024
#define TILE_ROWS 192 /* as in a forward run */
#define KEYS      4096
#define PAGES     (KEYS / ATTEND_PAGE)
#define RUNS      90 /* 30 layers, 3 KV heads; each is one of keys and one of values */

struct bench {
    const struct backend *b;
    struct pool *alone; /* one thread */
    enum dtype type;
    size_t dim, heads, run; /* run: bytes of keys, or values, in a page */
    char *cache;            /* [page][run][keys, values] */
    float *q, *out;
};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void attend(const struct bench *b, size_t run, size_t first, size_t positions)
{
    const void *k[PAGES], *v[PAGES];
    struct attention a = {
        .q = b->q,
        .out = b->out,
        .q_stride = b->heads * b->dim,
        .out_stride = b->heads * b->dim,
        .first = first,
        .positions = positions,
        .heads = b->heads,
        .head_dim = b->dim,
        .type = b->type,
        .k_pages = k,
        .v_pages = v,
        .scale = 0.125f,
    };

    for (size_t p = 0; p < PAGES; p++) {
        k[p] = b->cache + (p * RUNS + run) * 2 * b->run;
        v[p] = (const char *)k[p] + b->run;
    }
    b->b->attend(&a);
}

static double prefill_gflops(const struct bench *b)
{
    size_t tile = b->heads < TILE_ROWS ? TILE_ROWS / b->heads : 1;
    double start = seconds(), pairs = PREFILL * (PREFILL + 1) / 2;

    for (size_t t = 0; t < PREFILL; t += tile)
        attend(b, 0, t, PREFILL - t < tile ? PREFILL - t : tile);
    return pairs * (double)(b->heads * b->dim) * 4 / (seconds() - start) * 1e-9;
}

static double decode_gbs(const struct bench *b)
{
    double start = seconds();

    for (size_t run = 0; run < RUNS; run++)
        attend(b, run, KEYS - 1, 1);
    return (double)(RUNS * PAGES * 2 * b->run) / (seconds() - start) * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof(*values), by_value);
    return values[ROUNDS / 2];
}

static void measure(const struct bench *b, size_t bytes)
{
    double fma[ROUNDS], read[ROUNDS], prefill[ROUNDS], decode[ROUNDS], f, r, p, d;

    for (int i = 0; i < ROUNDS; i++) {
        fma[i] = limit_f32_gflops(b->alone);
        prefill[i] = prefill_gflops(b);
        read[i] = limit_read_gbs(b->alone, b->cache, bytes);
        decode[i] = decode_gbs(b);
    }
    f = median(fma);
    p = median(prefill);
    r = median(read);
    d = median(decode);
    printf("%s, %s, %zu heads of %zu: prefill %.0f of %.0f GFLOP/s, decode %.1f of %.1f GB/s, "
           "%.0f million keys/s\n",
           b->b->name, dtype_info(b->type)->name, b->heads, b->dim, p, f, d, r,
           d * 1e3 * ATTEND_PAGE / (2.0 * (double)b->run));
}

/* Between -0.5 and 0.5. */
static void fill(const struct bench *b)
{
    float x[1024];

    for (size_t i = 0; i < PAGES * RUNS * 2 * ATTEND_PAGE; i++) {
        char *run = b->cache + i / ATTEND_PAGE * b->run;

        for (size_t d = 0; d < b->dim; d++)
            x[d] = (float)((int)((i * b->dim + d) * 7919 % 512) - 256) / (i % 2 ? 512 : -512);
        (i / ATTEND_PAGE % 2 ? b->b->store_values : b->b->store_keys)(b->type, x, 0, 1, b->dim, run,
                                                                      i % ATTEND_PAGE);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {
        .b = argc > 3 ? backend_by_name(argv[3]) : backend_best(),
        .dim = argc > 1 ? strtoul(argv[1], NULL, 10) : 64,
        .heads = argc > 2 ? strtoul(argv[2], NULL, 10) : 3,
        .type = argc > 4 && strcmp(argv[4], "q8_0") == 0 ? DTYPE_Q8_0 : DTYPE_F16,
    };
    size_t bytes, floats;

    if (!b.b || b.dim < 1 || b.dim > 1024 || b.heads < 1 || b.heads > 1024) {
        fprintf(stderr, "usage: attend_bench [HEAD_DIM [HEADS [BACKEND [f16|q8_0]]]]\n");
        return 2;
    }
    b.run = attend_run_bytes(b.type, b.dim);
    bytes = PAGES * RUNS * 2 * b.run;
    floats = PREFILL * b.heads * b.dim;
    b.q = malloc(floats * sizeof(float));
    b.out = malloc(floats * sizeof(float));
    b.cache = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!b.q || !b.out || b.cache == MAP_FAILED || pool_create(&b.alone, 1, NULL) < 0) {
        fprintf(stderr, "attend_bench: no memory for a cache of %zu MiB\n", bytes >> 20);
        return 1;
    }
    fill(&b);
    for (size_t i = 0; i < floats; i++)
        b.q[i] = (float)((int)(i * 31 % 201) - 100) * 0.01f;
    measure(&b, bytes);
    pool_destroy(b.alone);
    return 0;
}
