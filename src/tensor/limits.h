/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - what one core of this machine can do at most: what kernels are measured against. */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

/* Each runs for some tens of milliseconds and returns 0 where the instructions are missing. */
double limit_read_gbs(const void *memory, unsigned long bytes); /* memory read, GB/s */
double limit_fma_gflops(void);                                  /* f32, two per multiply-add */
double limit_int8_gops(void);                                   /* vpdpbusd, two likewise */

#endif
