/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.h - what this processor can do, by its feature bits and the system's support for its
 * registers.
 *
 * Compiled for the plainest processor, so that asking never needs the instructions asked about.
 * Any thread. */
#ifndef TENSOR_CPU_H
#define TENSOR_CPU_H

#include <stdbool.h>

bool cpu_has_avx2(void);       /* AVX2, FMA, F16C */
bool cpu_has_avx512vnni(void); /* all that kernel_avx512.c is compiled for */
bool cpu_has_dotprod(void);    /* 64-bit ARM: dot products of int8 */
bool cpu_has_i8mm(void);       /* and products of small int8 matrices */

#endif
