/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - what the threads of a pool can do at most on this machine, all together: what kernels
 * and whole models are measured against.
 *
 * Each call runs for some tens of milliseconds on every thread of the pool and gives the sum of all
 * of them over the time until the last is done; 0 where the instructions are missing.  One thread
 * drives a pool. */
#ifndef TENSOR_LIMITS_H
#define TENSOR_LIMITS_H

#include "base/pool.h"

/* GB/s.  Reads it twice, so it should be more than a cache holds. */
double limit_read_gbs(struct pool *pool, const void *memory, size_t bytes);
double limit_f32_gflops(struct pool *pool);  /* two operations per multiply-add */
double limit_bf16_gflops(struct pool *pool); /* tiles (AMX) or vdpbf16ps, likewise */
/* Tiles or vpdpbusd, likewise; with AVX2 alone vpmaddubsw and an addition of 16 bits, for weights
 * of up to five: eight bits take twice as many. */
double limit_int8_gops(struct pool *pool);

/* Memory to read: 1 GiB, far more than any cache holds. */
struct limit_memory {
    char *at; /* NULL: there is none */
    size_t bytes, next;
};

/* Asks the system for it; for half as much, and so on, where that is above memory_max_bytes or
 * refused, and nothing below 64 MiB. */
void limit_memory_init(struct limit_memory *m, struct pool *pool, size_t memory_max_bytes);
void limit_memory_fini(struct limit_memory *m);

/* Reads two of sixteen parts of it, those last read before the others; GB/s, 0 if there is none. */
double limit_memory_read(struct limit_memory *m, struct pool *pool);

/* Medians of three runs of each, in about half a second. */
struct limits {
    double read_gbs, int8_gops, bf16_gflops, f32_gflops;
};

void limits_measure(struct limits *l, struct pool *pool, struct limit_memory *m);

#endif
