/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.c - see cpu.h */
#include "tensor/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

#define BIT(n) (1u << (n))

struct leaves {
    unsigned ecx1, ebx7, ecx7;
    uint64_t xcr0; /* register sets that the system saves */
};

static struct leaves ask(void)
{
    struct leaves l = {0};
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &l.ecx1, &d))
        return l;
    if (l.ecx1 & bit_OSXSAVE) {
        unsigned low, high;

        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        l.xcr0 = (uint64_t)high << 32 | low;
    }
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        l.ebx7 = b;
        l.ecx7 = c;
    }
    return l;
}

static bool all(uint64_t have, uint64_t wanted)
{
    return (have & wanted) == wanted;
}

bool cpu_has_avx2(void)
{
    struct leaves l = ask();

    return all(l.xcr0, BIT(1) | BIT(2)) &&             /* SSE and AVX registers */
           all(l.ecx1, BIT(12) | BIT(28) | BIT(29)) && /* FMA, AVX, F16C */
           all(l.ebx7, BIT(5));                        /* AVX2 */
}

bool cpu_has_avx512vnni(void)
{
    struct leaves l = ask();

    return cpu_has_avx2() &&
           all(l.xcr0, BIT(5) | BIT(6) | BIT(7)) &&              /* masks, upper halves, 16-31 */
           all(l.ebx7, BIT(16) | BIT(17) | BIT(30) | BIT(31)) && /* F, DQ, BW, VL */
           all(l.ecx7, BIT(11));                                 /* VNNI */
}

#else

bool cpu_has_avx2(void)
{
    return false;
}

bool cpu_has_avx512vnni(void)
{
    return false;
}

#endif

#if defined(__aarch64__)
#include <sys/auxv.h>

bool cpu_has_dotprod(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}

bool cpu_has_i8mm(void)
{
    return cpu_has_dotprod() && getauxval(AT_HWCAP2) & HWCAP2_I8MM;
}

#else

bool cpu_has_dotprod(void)
{
    return false;
}

bool cpu_has_i8mm(void)
{
    return false;
}

#endif
