/* SPDX-License-Identifier: Apache-2.0 */
/* A folder stands for "/" here, so that both versions can be tried on any machine; what a real
 * kernel makes of it is tested in tests/e2e/vce_test.c. */
#include "test.h"

#include "vce/cgroup.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], folders[CGROUP_FOLDERS_SIZE], detail[160];
static struct llmos_error err;
static const struct cgroup_limits limits = {
    .memory_bytes = 1 << 30, .cpu_percent = 150, .processes = 64};

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

/* What folder/file holds below the n-th folder of the list. */
static const char *get(int n, const char *file)
{
    static char text[256];
    char folder[1024], path[1280];
    const char *at = folders;
    size_t got;
    FILE *f;

    for (; n > 0; n--)
        at = strchr(at, '\n') + 1;
    snprintf(folder, sizeof(folder), "%s", at);
    folder[strcspn(folder, "\n")] = 0;
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    f = fopen(path, "re");
    if (!f)
        return NULL;
    got = fread(text, 1, sizeof(text) - 1, f);
    text[got] = 0;
    fclose(f);
    return text;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static void end(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    root[0] = 0;
}

static void begin(void)
{
    char stat[64];

    if (root[0])
        end();
    snprintf(root, sizeof(root), "/tmp/cgroup-XXXXXX");
    if (!mkdtemp(root))
        TEST_FAIL("cannot make a folder");
    snprintf(stat, sizeof(stat), "/proc/%d/stat", getpid());
    put("/proc/self/stat", "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n");
    put(stat, "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n");
    memset(&err, 0, sizeof(err));
}

static void begin_v2(void)
{
    begin();
    put("/proc/self/cgroup", "0::/app\n");
    put("/proc/self/mountinfo", "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw\n");
    put("/cg/app/cgroup.controllers", "cpuset cpu io memory pids\n");
    put("/cg/app/cgroup.subtree_control", "cpu memory pids\n");
}

static int create(void)
{
    return cgroup_create(root, "phi", &limits, folders, detail, sizeof(detail), &err);
}

TEST(cgroup_v2_makes_one_group_with_every_limit)
{
    char expected[160];

    begin_v2();
    CHECK_INT(create(), 0);
    CHECK_STR(detail, "cgroup v2: memory, pids, cpu");
    snprintf(expected, sizeof(expected), "%s/cg/app/llmos-%d-4711-", root, getpid());
    CHECK_CONTAINS(folders, expected);
    CHECK_STR(folders + strlen(folders) - 4, "-phi");
    CHECK(!strchr(folders, '\n'));
    CHECK_STR(get(0, "memory.max"), "1073741824");
    CHECK_STR(get(0, "memory.swap.max"), "0");
    CHECK_STR(get(0, "memory.oom.group"), "1");
    CHECK_STR(get(0, "pids.max"), "64");
    CHECK_STR(get(0, "cpu.max"), "150000 100000");
}

TEST(cgroup_v2_below_its_own_home_makes_groups_beside_it)
{
    char expected[160];

    begin_v2();
    put("/proc/self/cgroup", "0::/app/llmos-home\n");
    CHECK_INT(create(), 0);
    snprintf(expected, sizeof(expected), "%s/cg/app/llmos-%d-", root, getpid());
    CHECK_CONTAINS(folders, expected);
}

TEST(cgroup_v2_says_which_controller_is_missing_and_keeps_the_others)
{
    begin_v2();
    put("/cg/app/cgroup.controllers", "memory pids\n");
    put("/cg/app/cgroup.subtree_control", "memory pids\n");
    CHECK_INT(create(), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "only memory, pids: cannot use the cgroup controller 'cpu'");
    CHECK_STR(get(0, "memory.max"), "1073741824");
}

TEST(cgroup_v2_moves_a_lonely_process_out_of_the_way)
{
    char pid[16];

    begin_v2();
    snprintf(pid, sizeof(pid), "%d\n", getpid());
    put("/cg/app/cgroup.type", "domain\n");
    put("/cg/app/cgroup.procs", pid);
    put("/cg/app/cgroup.subtree_control", "");
    CHECK_INT(create(), 0);
    CHECK_STR(get(0, "../llmos-home/cgroup.procs"), "000"); /* once per controller here */
    CHECK_STR(get(0, "../cgroup.subtree_control"), "+memory+pids+cpu");
}

TEST(cgroup_v2_leaves_a_group_with_other_processes_alone)
{
    begin_v2();
    put("/cg/app/cgroup.type", "domain\n");
    put("/cg/app/cgroup.procs", "1\n2\n");
    put("/cg/app/cgroup.subtree_control", "");
    CHECK_INT(create(), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "has other processes");
    CHECK_CONTAINS(err.text, "Delegate=yes");
    CHECK_STR(folders, "");
}

TEST(cgroup_v1_makes_a_group_in_each_hierarchy)
{
    begin();
    put("/proc/self/cgroup", "4:memory:/box\n3:pids:/\n2:cpu,cpuacct:/\n0::/\n");
    put("/proc/self/mountinfo", "1 2 0:1 / /m rw - cgroup cgroup rw,memory\n"
                                "1 2 0:2 / /p rw - cgroup cgroup rw,pids\n"
                                "1 2 0:3 / /c rw - cgroup cgroup rw,cpu,cpuacct\n");
    put("/m/box/x", "");
    put("/p/x", "");
    put("/c/x", "");
    CHECK_INT(create(), 0);
    CHECK_STR(detail, "cgroup v1: memory, pids, cpu");
    CHECK_CONTAINS(folders, "/m/box/llmos-");
    CHECK_STR(get(0, "memory.limit_in_bytes"), "1073741824");
    CHECK_STR(get(1, "pids.max"), "64");
    CHECK_STR(get(2, "cpu.cfs_quota_us"), "150000");
    CHECK_STR(get(2, "cpu.cfs_period_us"), "100000");
}

TEST(cgroup_limits_that_are_not_wanted_need_no_controller)
{
    const struct cgroup_limits few = {.processes = 8};

    begin_v2();
    put("/cg/app/cgroup.controllers", "pids\n");
    put("/cg/app/cgroup.subtree_control", "pids\n");
    CHECK_INT(cgroup_create(root, "phi", &few, folders, detail, sizeof(detail), &err), 0);
    CHECK_STR(detail, "cgroup v2: pids");
    CHECK(get(0, "memory.max") == NULL);
}

TEST(cgroup_where_there_is_none_says_so)
{
    begin();
    CHECK_INT(create(), LLMOS_EUNSUPPORTED);
    CHECK_STR(err.text, "no cgroup controller 'memory'");
    CHECK_STR(folders, "");
    CHECK_INT(cgroup_join(folders, &err), 0);
    CHECK(!cgroup_ran_out_of_memory(folders));
    cgroup_remove(folders);
}

TEST(cgroup_join_moves_the_thread_where_that_is_possible)
{
    begin();
    put("/v1/tasks", "");
    put("/v1/cgroup.procs", "");
    put("/v2/cgroup.procs", "");
    snprintf(folders, sizeof(folders), "%s/v1\n%s/v2", root, root);
    CHECK_INT(cgroup_join(folders, &err), 0);
    CHECK_STR(get(0, "tasks"), "0");
    CHECK_STR(get(0, "cgroup.procs"), "");
    CHECK_STR(get(1, "cgroup.procs"), "0");
    CHECK(!get(1, "tasks"));
    end();
}

TEST(cgroup_join_says_where_it_could_not_go)
{
    CHECK(cgroup_join("/nowhere/group", &err) < 0);
    CHECK_CONTAINS(err.text, "cannot enter the cgroup '/nowhere/group'");
}

TEST(cgroup_counts_kills_in_both_versions)
{
    char list[256];

    begin();
    put("/v2/memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\n");
    put("/v1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
    snprintf(list, sizeof(list), "%s/v2\n%s/v1", root, root);
    CHECK(!cgroup_ran_out_of_memory(list));
    put("/v1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    CHECK(cgroup_ran_out_of_memory(list));
    put("/v1/memory.oom_control", "oom_kill_disable 0\n");
    put("/v2/memory.events", "oom 1\noom_kill 3\n");
    CHECK(cgroup_ran_out_of_memory(list));
}

static bool is_there(const char *path)
{
    char whole[512];

    snprintf(whole, sizeof(whole), "%s%s", root, path);
    return access(whole, F_OK) == 0;
}

static void make_folder(const char *path)
{
    char whole[512];

    snprintf(whole, sizeof(whole), "%s%s", root, path);
    if (mkdir(whole, 0700) < 0)
        TEST_FAIL("cannot make %s", whole);
}

TEST(cgroup_removes_only_what_a_dead_process_left_behind)
{
    char ours[64], reused[64];

    begin_v2();
    snprintf(ours, sizeof(ours), "/cg/app/llmos-%d-4711-1-phi", getpid());
    snprintf(reused, sizeof(reused), "/cg/app/llmos-%d-4710-1-phi", getpid());
    make_folder(ours);
    make_folder(reused); /* the number was given to another process: us */
    make_folder("/cg/app/llmos-999999-1-1-phi");
    make_folder("/cg/app/llmos-home");
    make_folder("/cg/app/llmos-x-1-1-phi");
    make_folder("/cg/app/other");
    cgroup_remove_stale(root);
    CHECK(is_there(ours));
    CHECK(!is_there(reused));
    CHECK(!is_there("/cg/app/llmos-999999-1-1-phi"));
    CHECK(is_there("/cg/app/llmos-home"));
    CHECK(is_there("/cg/app/llmos-x-1-1-phi"));
    CHECK(is_there("/cg/app/other"));
    end();
}
