/* SPDX-License-Identifier: Apache-2.0 */
/* Machines are made of files here: a folder stands for "/". */
#include "test.h"

#include "base/machine.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static void put(const char *path, const char *text)
{
    char whole[512];
    FILE *f;

    snprintf(whole, sizeof(whole), "%s%s", root, path);
    for (char *at = whole + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(whole, 0700);
        *at = '/';
    }
    f = fopen(whole, "we");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        TEST_FAIL("cannot write %s", whole);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static void end(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void begin(void)
{
    if (root[0])
        end();
    snprintf(root, sizeof(root), "/tmp/machine-XXXXXX");
    if (!mkdtemp(root))
        TEST_FAIL("cannot make a folder");
    put("/proc/meminfo", "MemTotal:       16000000 kB\nMemFree:         1000000 kB\n"
                         "MemAvailable:    8000000 kB\n");
}

#define GIB ((uint64_t)1 << 30)
#define V2_MOUNT                            \
    "24 23 0:5 / /proc rw - proc proc rw\n" \
    "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,ns\n"
#define V1_MOUNTS                                                                          \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"          \
    "35 31 0:32 / /sys/fs/cgroup/memory rw shared:12 master:1 - cgroup cgroup rw,memory\n" \
    "36 31 0:33 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                    \
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

TEST(machine_without_cgroups_is_the_whole_machine)
{
    struct machine_memory m;

    begin();
    m = machine_memory_at(root);
    CHECK_INT(machine_cpus_at(root, 12), 12);
    CHECK(m.total_bytes == (uint64_t)16000000 * 1024);
    CHECK(m.available_bytes == (uint64_t)8000000 * 1024);
}

TEST(machine_reads_limits_of_version_2)
{
    struct machine_memory m;

    begin();
    put("/proc/self/cgroup", "0::/user.slice/app.service\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/user.slice/app.service/cpu.max", "150000 100000\n");
    put("/sys/fs/cgroup/user.slice/app.service/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/user.slice/app.service/memory.current", "3221225472\n");
    put("/sys/fs/cgroup/user.slice/app.service/memory.stat",
        "anon 1000\nfile 2147483648\ninactive_file 1073741824\nactive_file 5\n");
    CHECK_INT(machine_cpus_at(root, 12), 2); /* 1.5 */
    CHECK_INT(machine_cpus_at(root, 1), 1);
    m = machine_memory_at(root);
    CHECK(m.total_bytes == 4 * GIB);
    CHECK(m.available_bytes == 2 * GIB); /* 1 free, 1 of page cache */
}

TEST(machine_takes_the_least_of_every_group_above)
{
    begin();
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/c/cpu.max", "500000 100000\n");
    put("/sys/fs/cgroup/a/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/a/b/c/memory.max", "max\n");
    CHECK_INT(machine_cpus_at(root, 12), 3);
    CHECK(machine_memory_at(root).total_bytes == GIB);
}

TEST(machine_reads_limits_of_version_1)
{
    struct machine_memory m;

    begin();
    put("/proc/self/cgroup", "8:pids:/\n4:memory:/box/7\n3:cpuset:/\n2:cpu,cpuacct:/box\n0::/\n");
    put("/proc/self/mountinfo", V1_MOUNTS);
    put("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "400000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/box/7/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2147483648\n");
    put("/sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1073741824\n");
    put("/sys/fs/cgroup/memory/box/memory.stat",
        "inactive_file 7\ntotal_inactive_file 536870912\n");
    CHECK_INT(machine_cpus_at(root, 12), 4);
    m = machine_memory_at(root);
    CHECK(m.total_bytes == 2 * GIB);
    CHECK(m.available_bytes == GIB + GIB / 2);
}

TEST(machine_in_a_container_sees_its_own_part_of_the_tree)
{
    char folder[256];
    size_t top;

    begin();
    put("/proc/self/cgroup", "4:memory:/docker/abc/inner\n2:cpu,cpuacct:/docker/abc\n");
    put("/proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n");
    put("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "1073741824\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(machine_memory_at(root).total_bytes == GIB);
    CHECK_INT(machine_cpus_at(root, 8), 1); /* a half is one, never none */
    CHECK_INT(machine_cgroup(root, "memory", folder, sizeof(folder), &top), 1);
    CHECK_STR(folder + strlen(root), "/sys/fs/cgroup/memory/inner");
    CHECK_INT(top, strlen(root) + strlen("/sys/fs/cgroup/memory"));
    CHECK_INT(machine_cgroup(root, "pids", folder, sizeof(folder), &top), 0);
}

TEST(machine_prefers_the_version_that_has_the_controller)
{
    char folder[256];
    size_t top;

    begin();
    put("/proc/self/cgroup", "0::/u\n4:memory:/m\n");
    put("/proc/self/mountinfo", V1_MOUNTS);
    CHECK_INT(machine_cgroup(root, "memory", folder, sizeof(folder), &top), 1);
    CHECK_STR(folder + strlen(root), "/sys/fs/cgroup/memory/m");
    CHECK_INT(machine_cgroup(root, "pids", folder, sizeof(folder), &top), 2);
    CHECK_STR(folder + strlen(root), "/sys/fs/cgroup/unified/u");
}

TEST(machine_is_not_confused_by_nonsense)
{
    char folder[16];
    size_t top;

    begin();
    put("/proc/meminfo", "MemTotal: x\nMemAvailable:\n");
    put("/proc/self/cgroup", "\n:\n::\n0::relative\n0::/../outside\nmemory\n4:memory:/m\n");
    put("/proc/self/mountinfo", "\n - \n - cgroup2\n1 2 - cgroup cgroup memory\n" V1_MOUNTS);
    put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "99999999999999999999999\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "5\n");
    CHECK_INT(machine_memory_at(root).total_bytes, 0);
    CHECK_INT(machine_cpus_at(root, 3), 3);
    CHECK_INT(machine_cgroup(root, "memory", folder, sizeof(folder), &top), 0); /* no room */
    end();
}

TEST(machine_reads_one_line_of_a_file)
{
    char path[128], line[8];

    begin();
    put("/file", "abc\ndef\n");
    snprintf(path, sizeof(path), "%s/file", root);
    CHECK_INT(machine_read_line(path, line, sizeof(line)), 3);
    CHECK_STR(line, "abc");
    put("/file", "abcdefghijk");
    CHECK_INT(machine_read_line(path, line, sizeof(line)), 7);
    CHECK_INT(machine_read_line("/nowhere", line, sizeof(line)), -1);
    end();
}

TEST(machine_here_has_processors_and_memory)
{
    struct machine_memory m = machine_memory();

    CHECK(machine_cpus() >= 1);
    CHECK(m.total_bytes > 0 && m.available_bytes <= m.total_bytes);
    CHECK(machine_page_bytes() >= 4096);
}

TEST(machine_knows_the_name_of_its_processor)
{
    char name[64];

    begin();
    machine_cpu_name(root, name, sizeof(name));
    CHECK(name[0] && strcmp(name, "Little Processor 3000") != 0);
    put("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Little Processor 3000\n"
                         "processor\t: 1\nmodel name\t: Another\n");
    machine_cpu_name(root, name, sizeof(name));
    CHECK_STR(name, "Little Processor 3000");
    machine_cpu_name(root, name, 7);
    CHECK_STR(name, "Little");
    end();
}
