/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.c - see cpu.h */
#include "tensor/cpu.h"

#include <stdatomic.h>
#include <unistd.h>

#define BIT(n) (1u << (n))

size_t cpu_cache_bytes(void)
{
#if defined(_SC_LEVEL3_CACHE_SIZE)
    long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);

    return bytes > 0 ? (size_t)bytes : 0;
#else
    return 0;
#endif
}

static bool all(uint64_t have, uint64_t wanted)
{
    return (have & wanted) == wanted;
}

bool cpu_leaves_have_avx2(const struct cpu_leaves *l)
{
    return all(l->xcr0, BIT(1) | BIT(2)) &&             /* SSE and AVX registers */
           all(l->ecx1, BIT(12) | BIT(28) | BIT(29)) && /* FMA, AVX, F16C */
           all(l->ebx7, BIT(5));                        /* AVX2 */
}

bool cpu_leaves_have_avx2vnni(const struct cpu_leaves *l)
{
    return cpu_leaves_have_avx2(l) && all(l->eax7_1, BIT(4)); /* AVX-VNNI */
}

bool cpu_leaves_have_avx512vnni(const struct cpu_leaves *l)
{
    return cpu_leaves_have_avx2(l) &&
           all(l->xcr0, BIT(5) | BIT(6) | BIT(7)) &&              /* masks, upper halves, 16-31 */
           all(l->ebx7, BIT(16) | BIT(17) | BIT(30) | BIT(31)) && /* F, DQ, BW, VL */
           all(l->ecx7, BIT(11));                                 /* VNNI */
}

bool cpu_leaves_have_amx(const struct cpu_leaves *l)
{
    return cpu_leaves_have_avx512vnni(l) &&
           all(l->xcr0, BIT(17) | BIT(18)) &&           /* configuration, tiles */
           all(l->edx7, BIT(22) | BIT(24) | BIT(25)) && /* bf16, tiles, int8 */
           all(l->eax7_1, BIT(5));                      /* bf16 without tiles */
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

static struct cpu_leaves ask(void)
{
    struct cpu_leaves l = {0};
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
        l.edx7 = d;
        if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) /* a: the last sub-leaf */
            l.eax7_1 = a;
    }
    return l;
}

bool cpu_has_avx2(void)
{
    struct cpu_leaves l = ask();

    return cpu_leaves_have_avx2(&l);
}

bool cpu_has_avx2vnni(void)
{
    struct cpu_leaves l = ask();

    return cpu_leaves_have_avx2vnni(&l);
}

bool cpu_has_avx512vnni(void)
{
    struct cpu_leaves l = ask();

    return cpu_leaves_have_avx512vnni(&l);
}

/* Linux keeps eight KiB for the tiles of each thread, if it is asked to (arch_prctl(2)). */
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_TILES      18

bool cpu_has_amx(void)
{
    struct cpu_leaves l = ask();

    return cpu_leaves_have_amx(&l) &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILES) == 0;
}

bool cpu_has_avx512bf16(void)
{
    return cpu_has_avx512vnni() && all(ask().eax7_1, BIT(5));
}

static bool is_intel(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == signature_INTEL_ebx &&
           edx == signature_INTEL_edx && ecx == signature_INTEL_ecx;
}

bool cpu_adds_where_it_multiplies(void)
{
    return is_intel();
}

/* Kept, since virtual machines are left for each CPUID. */
bool cpu_wants_lines_asked(void)
{
    static atomic_int known; /* 0: no; 1: not Intel's; 2: Intel's */
    int now = atomic_load_explicit(&known, memory_order_relaxed);

    if (now == 0) {
        now = is_intel() ? 2 : 1;
        atomic_store_explicit(&known, now, memory_order_relaxed);
    }
    return now == 2;
}

#else

bool cpu_has_avx2(void)
{
    return false;
}

bool cpu_has_avx2vnni(void)
{
    return false;
}

bool cpu_has_avx512vnni(void)
{
    return false;
}

bool cpu_has_amx(void)
{
    return false;
}

bool cpu_has_avx512bf16(void)
{
    return false;
}

bool cpu_wants_lines_asked(void)
{
    return false;
}

bool cpu_adds_where_it_multiplies(void)
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
