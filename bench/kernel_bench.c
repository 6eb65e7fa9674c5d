/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_bench.c - how near the kernels come to the limits of this machine, on one thread.
 *
 *     kernel_bench [--json] [--rounds N] [--backend NAME] [--packed]
 *
 * Limits and kernels are measured in turn, round after round, and medians are shown: another
 * process on the machine then disturbs both. */
#include "base/clock.h"
#include "base/mem.h"
#include "tensor/backend.h"
#include "tensor/limits.h"
#include "tensor/packed.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ROUNDS_MAX 101
#define READ_BYTES (512ul << 20) /* far beyond any cache */
#define DECODE     4096          /* inner and rows; matrices are spread over READ_BYTES */
#define PREFILL    2048
#define PREFILL_N  512

struct series {
    double value[ROUNDS_MAX];
    unsigned count;
};

static struct series read_gbs, fma_gflops, int8_gops, decode[DTYPE_COUNT], prefill[DTYPE_COUNT];
static struct pool *alone; /* one thread */
static char *memory;       /* READ_BYTES, of huge pages where there are any */
static bool packs;         /* weights that have a packed form are packed */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(struct series *s)
{
    qsort(s->value, s->count, sizeof(*s->value), by_value);
    return s->value[s->count / 2];
}

static void note(struct series *s, double value)
{
    s->value[s->count++] = value;
}

static struct tensor matrix(enum dtype type, size_t inner, size_t rows, const void *data)
{
    struct tensor w = {.type = type,
                       .n_dims = 2,
                       .shape = {inner, rows, 1, 1},
                       .row_bytes = dtype_row_bytes(type, inner),
                       .data = data};

    return packs && packed_has(type) ? packed_form(&w, data) : w;
}

/* GB/s of weights, each matrix read once: none is in a cache when it is needed. */
static double decode_gbs(const struct backend *b, enum dtype type, const void *x, float *out)
{
    struct tensor w = matrix(type, DECODE, DECODE, memory);
    size_t bytes = w.row_bytes * DECODE, matrices = READ_BYTES / bytes;
    uint64_t start = clock_ns();

    for (size_t i = 0; i < matrices; i++) {
        w.data = memory + i * bytes;
        b->matmul(&w, 0, DECODE, x, 1, out, DECODE);
    }
    return (double)(bytes * matrices) / (clock_seconds_since(start) * 1e9);
}

static double prefill_gops(const struct backend *b, enum dtype type, const void *x, float *out)
{
    struct tensor w = matrix(type, PREFILL, PREFILL, memory);
    uint64_t start = clock_ns();

    b->matmul(&w, 0, PREFILL, x, PREFILL_N, out, PREFILL);
    return 2.0 * PREFILL * PREFILL * PREFILL_N / (clock_seconds_since(start) * 1e9);
}

/* Weights that are numbers: a NaN or a subnormal would be another measurement. */
static void fill_weights(enum dtype type, size_t inner)
{
    size_t bytes = dtype_row_bytes(type, inner) * PACKED_GROUP;
    float *row = mem_alloc(inner * sizeof(float));
    char *rows = mem_alloc(bytes);

    for (size_t i = 0; row && i < inner; i++)
        row[i] = (float)((int)(i * 7919 % 2001) - 1000) * 1e-3f;
    for (size_t r = 0; row && rows && r < PACKED_GROUP; r++)
        dtype_info(type)->from_f32(row, NULL, rows + r * bytes / PACKED_GROUP, inner);
    if (rows && packs && packed_has(type)) {
        struct tensor w = {.type = type,
                           .shape = {inner, PACKED_GROUP, 1, 1},
                           .row_bytes = bytes / PACKED_GROUP,
                           .data = rows};

        packed_write(&w, 0, 0, 1, memory);
        bytes = packed_group_bytes(type, packed_columns(inner, 0));
    } else if (rows) {
        memcpy(memory, rows, bytes);
    }
    for (size_t at = bytes; at + bytes <= READ_BYTES; at += bytes)
        memcpy(memory + at, memory, bytes);
    mem_free(row);
    mem_free(rows);
}

static int measure(const struct backend *b, enum dtype type, unsigned rounds)
{
    size_t x_bytes = b->prepared_bytes(type, DECODE), x2_bytes = b->prepared_bytes(type, PREFILL);
    char *x = mem_aligned(x_bytes + x2_bytes * PREFILL_N);
    float *out = mem_alloc(sizeof(float) * (PREFILL * PREFILL_N + DECODE)), in[DECODE];

    if (!x || !out)
        return -1;
    for (size_t i = 0; i < DECODE; i++)
        in[i] = (float)((int)(i * 31 % 201) - 100) * 0.01f;
    b->prepare(type, in, DECODE, x);
    for (size_t t = 0; t < PREFILL_N; t++)
        b->prepare(type, in + t, PREFILL, x + x_bytes + t * x2_bytes);
    fill_weights(type, DECODE);
    for (unsigned i = 0; i < rounds; i++) {
        note(&read_gbs, limit_read_gbs(alone, memory, READ_BYTES));
        note(&decode[type], decode_gbs(b, type, x, out));
    }
    fill_weights(type, PREFILL);
    for (unsigned i = 0; i < rounds; i++) {
        note(&fma_gflops, limit_f32_gflops(alone));
        note(&int8_gops, limit_int8_gops(alone));
        note(&prefill[type], prefill_gops(b, type, x + x_bytes, out));
    }
    mem_free(x);
    mem_free(out);
    return 0;
}

static void print_table(const struct backend *b)
{
    double read = median(&read_gbs), fma = median(&fma_gflops), int8 = median(&int8_gops);

    printf("limits of one thread: read %.1f GB/s, f32 %.0f GFLOP/s, int8 %.0f GOP/s\n", read, fma,
           int8);
    printf("backend %s\n%-6s %14s %8s %16s %8s\n", b->name, "type", "decode GB/s", "of read",
           "prefill GOP/s", "of units");
    for (int t = 0; t < DTYPE_COUNT; t++) {
        bool is_int8 = dtype_info((enum dtype)t)->block > 1;
        double limit = is_int8 ? int8 : fma, d = median(&decode[t]), p = median(&prefill[t]);

        printf("%-6s %14.1f %7.0f%% %16.0f", dtype_info((enum dtype)t)->name, d, 100 * d / read, p);
        if (limit > 0)
            printf(" %7.0f%%", 100 * p / limit);
        printf("\n");
    }
}

static void print_json(const struct backend *b, unsigned rounds)
{
    printf("{\"backend\": \"%s\", \"rounds\": %u, \"read_gb_per_second\": %.2f, "
           "\"f32_gflop_per_second\": %.1f, \"int8_gop_per_second\": %.1f, \"kernels\": [",
           b->name, rounds, median(&read_gbs), median(&fma_gflops), median(&int8_gops));
    for (int t = 0; t < DTYPE_COUNT; t++)
        printf("%s{\"type\": \"%s\", \"decode_gb_per_second\": %.2f, "
               "\"prefill_gop_per_second\": %.1f}",
               t ? ", " : "", dtype_info((enum dtype)t)->name, median(&decode[t]),
               median(&prefill[t]));
    printf("]}\n");
}

static int usage(void)
{
    fprintf(stderr, "usage: kernel_bench [--json] [--rounds N] [--backend NAME] [--packed]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"backend", required_argument, NULL, 'b'},
                                            {"packed", no_argument, NULL, 'p'},
                                            {0}};
    const struct backend *b = backend_best();
    unsigned long rounds = 5;
    bool json = false;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'j')
            json = true;
        else if (c == 'r')
            rounds = strtoul(optarg, NULL, 10);
        else if (c == 'b')
            b = backend_by_name(optarg);
        else if (c == 'p')
            packs = true;
        else
            return usage();
    }
    if (!b || (packs && !b->reads_packed) || rounds < 1 || rounds > ROUNDS_MAX / DTYPE_COUNT ||
        optind < argc)
        return usage();
    memory = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "kernel_bench: no memory for %lu MiB of weights\n", READ_BYTES >> 20);
        return 1;
    }
    madvise(memory, READ_BYTES, MADV_HUGEPAGE);
    if (pool_create(&alone, 1, NULL) < 0)
        return 1;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (measure(b, (enum dtype)t, (unsigned)rounds) < 0) {
            fprintf(stderr, "kernel_bench: no memory for activations\n");
            return 1;
        }
    }
    if (json)
        print_json(b, (unsigned)rounds);
    else
        print_table(b);
    pool_destroy(alone);
    return 0;
}
