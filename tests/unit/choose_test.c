/* SPDX-License-Identifier: Apache-2.0 */
/* choose_test.c - which kernels a processor can run, and which of them are taken. */
#include "test.h"

#include "tensor/backend.h"
#include "tensor/cpu.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TEST(the_reference_is_always_there_and_last)
{
    unsigned count = 0;

    while (backend_at(count))
        count++;
    CHECK(backend_at(count - 1) == &backend_ref);
    CHECK(backend_by_name("ref") == &backend_ref);
    CHECK(backend_by_name("abacus") == NULL);
    CHECK(backend_best()->usable());
    printf("# best here: %s\n", backend_best()->name);
}

TEST(backends_need_what_they_say)
{
#if defined(__x86_64__)
    CHECK_INT(backend_avx2.usable(), cpu_has_avx2());
    CHECK_INT(backend_avx2vnni.usable(), cpu_has_avx2vnni());
    CHECK_INT(backend_avx512vnni.usable(), cpu_has_avx512vnni());
    CHECK_INT(backend_avx512amx.usable(), cpu_has_amx());
    CHECK((!cpu_has_avx512vnni() && !cpu_has_avx2vnni()) || cpu_has_avx2());
#else
    CHECK(!cpu_has_avx2() && !cpu_has_avx2vnni() && !cpu_has_avx512vnni());
#endif
}

TEST(avx_vnni_needs_avx2_and_registers_that_the_system_saves)
{
    const struct cpu_leaves alder_lake = {
        .ecx1 = 1u << 12 | 1u << 28 | 1u << 29, .ebx7 = 1u << 5, .eax7_1 = 1u << 4, .xcr0 = 7};
    struct cpu_leaves l = alder_lake;

    CHECK(cpu_leaves_have_avx2(&l) && cpu_leaves_have_avx2vnni(&l));
    l.eax7_1 = ~(1u << 4);
    CHECK(cpu_leaves_have_avx2(&l) && !cpu_leaves_have_avx2vnni(&l));
    l.ecx7 = 1u << 11; /* that of AVX-512 is another */
    CHECK(!cpu_leaves_have_avx2vnni(&l));
    l = alder_lake;
    l.xcr0 = 3;
    CHECK(!cpu_leaves_have_avx2(&l) && !cpu_leaves_have_avx2vnni(&l));
    l = alder_lake;
    l.ebx7 = 0;
    CHECK(!cpu_leaves_have_avx2vnni(&l));
}

TEST(tiles_need_avx512_and_registers_that_the_system_saves)
{
    const struct cpu_leaves sapphire_rapids = {
        .ecx1 = 1u << 12 | 1u << 28 | 1u << 29,
        .ebx7 = 1u << 5 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31,
        .ecx7 = 1u << 11,
        .edx7 = 1u << 22 | 1u << 24 | 1u << 25,
        .eax7_1 = 1u << 5,
        .xcr0 = 0x600e7,
    };
    struct cpu_leaves l = sapphire_rapids;

    CHECK(cpu_leaves_have_avx512vnni(&l) && cpu_leaves_have_amx(&l));
    for (unsigned bit = 22; bit <= 25; bit++) {
        l.edx7 = sapphire_rapids.edx7 & ~(1u << bit);
        CHECK(cpu_leaves_have_avx512vnni(&l) && cpu_leaves_have_amx(&l) == (bit == 23));
    }
    l = sapphire_rapids;
    l.eax7_1 = ~(1u << 5);
    CHECK(cpu_leaves_have_avx512vnni(&l) && !cpu_leaves_have_amx(&l));
    l = sapphire_rapids;
    l.xcr0 = 0x200e7; /* a system that saves their configuration only */
    CHECK(cpu_leaves_have_avx512vnni(&l) && !cpu_leaves_have_amx(&l));
    l = sapphire_rapids;
    l.ecx7 = 0;
    CHECK(!cpu_leaves_have_avx512vnni(&l) && !cpu_leaves_have_amx(&l));
}

/* The kernel reads the same bits on its own. */
TEST(avx_vnni_is_found_where_the_system_finds_it)
{
#if defined(__x86_64__)
    char line[8192] = "";
    FILE *f = fopen("/proc/cpuinfo", "r");

    if (!f)
        SKIP("there is no /proc/cpuinfo");
    while (fgets(line, sizeof(line), f) && strncmp(line, "flags", 5) != 0)
        ;
    fclose(f);
    CHECK_INT(cpu_has_avx2vnni(), strstr(line, " avx2 ") && strstr(line, " avx_vnni "));
#else
    SKIP("this is another kind of processor");
#endif
#if defined(__aarch64__)
    CHECK_INT(backend_neon.usable(), cpu_has_dotprod());
    CHECK_INT(backend_neon_i8mm.usable(), cpu_has_i8mm());
    CHECK(!cpu_has_i8mm() || cpu_has_dotprod());
#else
    CHECK(!cpu_has_dotprod() && !cpu_has_i8mm());
#endif
}

TEST(the_best_is_the_first_usable_that_is_not_slow_or_the_one_named)
{
    const char *wanted = getenv("LLMOS_BACKEND");

    if (wanted && backend_by_name(wanted))
        CHECK(backend_best() == backend_by_name(wanted));
    else
        for (unsigned i = 0; backend_at(i) != backend_best(); i++)
            CHECK(!backend_at(i)->usable() || (backend_at(i)->is_slow && backend_at(i)->is_slow()));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0 /* sanitizers do not run under qemu-user */
#endif

#if defined(__x86_64__)
#define EMULATOR "qemu-x86_64-static"
#elif defined(__aarch64__)
#define EMULATOR "qemu-aarch64-static"
#endif

#if defined(EMULATOR)
/* This program, asked for its choice on an emulated processor. */
static void check_choice_on(const char *cpu, const char *expected)
{
    char self[1024], command[2048], line[256], said[256] = "nothing";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    FILE *out;

    CHECK(n > 0);
    self[n] = '\0';
    snprintf(command, sizeof(command),
             "env -u LLMOS_BACKEND " EMULATOR " -cpu %s '%s' the_reference_is 2>/dev/null", cpu,
             self);
    out = popen(command, "r");
    CHECK(out);
    while (fgets(line, sizeof(line), out))
        if (strncmp(line, "# best here: ", 13) == 0)
            snprintf(said, sizeof(said), "%.*s", (int)strcspn(line + 13, "\n"), line + 13);
    CHECK_INT(pclose(out), 0);
    CHECK_STR(said, expected);
}
#endif

TEST(the_choice_degrades_with_the_processor)
{
#if defined(EMULATOR)
    if (SANITIZED)
        SKIP("sanitizers do not run under qemu-user");
    if (system("command -v " EMULATOR " >/dev/null 2>&1") != 0)
        SKIP(EMULATOR " is not installed (package qemu-user-static)");
#endif
#if defined(__x86_64__)
    check_choice_on("Haswell", "avx2");
    check_choice_on("Nehalem", "ref");
#elif defined(__aarch64__)
    check_choice_on("max", "neon-i8mm");
    check_choice_on("cortex-a76", "neon");
    check_choice_on("cortex-a72", "ref");
#else
    SKIP("there is one choice only on this processor");
#endif
}
