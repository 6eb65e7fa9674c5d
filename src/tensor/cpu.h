/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.h - what this processor can do, by its feature bits and the system's support for its
 * registers.
 *
 * Compiled for the plainest processor, so that asking never needs the instructions asked about.
 * Any thread. */
#ifndef TENSOR_CPU_H
#define TENSOR_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What CPUID says (Intel's manual, volume 2, CPUID), registers named with their leaf. */
struct cpu_leaves {
    unsigned ecx1, ebx7, ecx7, edx7;
    unsigned eax7_1; /* of leaf 7, sub-leaf 1; 0 where there is none */
    uint64_t xcr0;   /* register sets that the system saves */
};

bool cpu_leaves_have_avx2(const struct cpu_leaves *l);
bool cpu_leaves_have_avx2vnni(const struct cpu_leaves *l);
bool cpu_leaves_have_avx512vnni(const struct cpu_leaves *l);
bool cpu_leaves_have_amx(const struct cpu_leaves *l);

bool cpu_has_avx2(void);       /* AVX2, FMA, F16C */
bool cpu_has_avx2vnni(void);   /* and VNNI in AVX's encoding (AVX-VNNI) */
bool cpu_has_avx512vnni(void); /* all that kernel_avx512.c is compiled for */
bool cpu_has_avx512bf16(void); /* these, and products of bf16 */
/* All these, rounding to bf16, products of tiles (AMX) of int8 and bf16, and the system's leave to
 * use them, which is asked for: the process has it from then on. */
bool cpu_has_amx(void);
/* Do additions in registers of 512 bits wait for the units that multiply?  Intel's do, by ports 0
 * and 5; AMD's since Zen 4 have as many units again that add. */
bool cpu_adds_where_it_multiplies(void);
/* Are streams from memory faster where each line is asked for?  Intel's are (bench/NOTES.md). Cheap
 * enough to be asked by each product. */
bool cpu_wants_lines_asked(void);
/* The last level of cache, which others may share, those outside a virtual machine too; 0: unknown.
 */
size_t cpu_cache_bytes(void);
bool cpu_has_dotprod(void); /* 64-bit ARM: dot products of int8 */
bool cpu_has_i8mm(void);    /* and products of small int8 matrices */

#endif
