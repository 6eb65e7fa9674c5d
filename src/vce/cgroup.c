/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.c - see cgroup.h */
#include "vce/cgroup.h"

#include "base/file.h"
#include "base/machine.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 1024
#define HOME      "llmos-home" /* version 2: where we move so that our group may have children */

static const char *const controllers[] = {"memory", "pids", "cpu"};
#define CONTROLLERS (sizeof(controllers) / sizeof(*controllers))

/* What making one group has come to. */
struct making {
    const char *root;
    char group[128]; /* the name of the new folder(s) */
    char *folders;   /* list so far */
    char held[64];   /* controllers that hold */
    int version;
};

static int put(const struct making *m, const char *folder, const char *file, const char *text)
{
    /* A made-up tree has no kernel that fills new folders with files. */
    int flags = O_WRONLY | O_CLOEXEC | (m->root[0] ? O_CREAT | O_APPEND : 0);
    CLEANUP(fd) int fd = -1;
    char path[PATH_SIZE + 64];

    snprintf(path, sizeof(path), "%s/%s", folder, file);
    fd = open(path, flags, 0600);
    return fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ? -1 : 0;
}

static bool line_has(const char *folder, const char *file, const char *word)
{
    char path[PATH_SIZE + 64], line[512], *save = NULL;

    snprintf(path, sizeof(path), "%s/%s", folder, file);
    if (machine_read_line(path, line, sizeof(line)) <= 0)
        return false;
    for (char *at = strtok_r(line, " ", &save); at; at = strtok_r(NULL, " ", &save))
        if (strcmp(at, word) == 0)
            return true;
    return false;
}

enum population { NOBODY, ONLY_WE, OTHERS };

static enum population population_of(const char *folder)
{
    char path[PATH_SIZE + 64], line[32];
    enum population who = NOBODY;
    FILE *f;

    snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
    f = fopen(path, "re");
    while (f && who != OTHERS && fgets(line, sizeof(line), f))
        who = strtol(line, NULL, 10) == getpid() ? ONLY_WE : OTHERS;
    if (f)
        fclose(f);
    return who;
}

/* Version 2: a group that is not the machine's root passes controllers on to its children only
 * while it has no process itself.  (The kernel takes "pids" and "cpu" all the same, and then no
 * child can be entered.)  If we are alone in it we move out of the way. */
static int make_way(const struct making *m, const char *home)
{
    char child[PATH_SIZE + 32], type[PATH_SIZE + 32];
    enum population who = population_of(home);

    snprintf(type, sizeof(type), "%s/cgroup.type", home);
    if (who == NOBODY || access(type, F_OK) < 0) /* the root has no such file */
        return 0;
    errno = EBUSY;
    if (who == OTHERS)
        return -1;
    snprintf(child, sizeof(child), "%s/" HOME, home);
    if (mkdir(child, 0755) < 0 && errno != EEXIST)
        return -1;
    return put(m, child, "cgroup.procs", "0");
}

static int enable(const struct making *m, const char *home, const char *controller)
{
    char word[32];

    if (line_has(home, "cgroup.subtree_control", controller))
        return 0;
    if (!line_has(home, "cgroup.controllers", controller)) {
        errno = ENODEV;
        return -1;
    }
    snprintf(word, sizeof(word), "+%s", controller);
    return make_way(m, home) < 0 ? -1 : put(m, home, "cgroup.subtree_control", word);
}

/* The folder below which groups are made for a controller. */
static int home_of(const char *root, const char *controller, char *home, size_t size)
{
    size_t top;
    int version = machine_cgroup(root, controller, home, size, &top);
    char *last = strrchr(home, '/');

    if (version == 2 && last && strcmp(last, "/" HOME) == 0)
        *last = 0;
    return version;
}

static bool list_has(const char *folders, const char *folder)
{
    size_t n = strlen(folder);

    for (const char *at = folders; *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (strncmp(at, folder, n) == 0 && (at[n] == '\n' || at[n] == 0))
            return true;
    return false;
}

static int make_folder(struct making *m, const char *folder)
{
    size_t used = strlen(m->folders);

    if (list_has(m->folders, folder))
        return 0;
    if (used + strlen(folder) + 2 > CGROUP_FOLDERS_SIZE) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (mkdir(folder, 0755) < 0)
        return -1;
    /* It fits: checked above. */
    memcpy(m->folders + used, used ? "\n" : "", used ? 1 : 0);
    memcpy(m->folders + used + (used > 0), folder, strlen(folder) + 1);
    return 0;
}

static int put_number(const struct making *m, const char *folder, const char *file, uint64_t n)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, n);
    return put(m, folder, file, text);
}

static int set_memory(const struct making *m, const char *folder, uint64_t bytes)
{
    if (m->version == 1) {
        if (put_number(m, folder, "memory.limit_in_bytes", bytes) < 0)
            return -1;
        put_number(m, folder, "memory.memsw.limit_in_bytes",
                   bytes); /* only where swap is counted */
        return 0;
    }
    if (put_number(m, folder, "memory.max", bytes) < 0)
        return -1;
    put(m, folder, "memory.swap.max", "0");
    put(m, folder, "memory.oom.group", "1");
    return 0;
}

static int set_cpu(const struct making *m, const char *folder, unsigned percent)
{
    char text[64];

    if (m->version == 1)
        return put(m, folder, "cpu.cfs_period_us", "100000") < 0
                   ? -1
                   : put_number(m, folder, "cpu.cfs_quota_us", (uint64_t)percent * 1000);
    snprintf(text, sizeof(text), "%" PRIu64 " 100000", (uint64_t)percent * 1000);
    return put(m, folder, "cpu.max", text);
}

static int set_limit(const struct making *m, const char *folder, const char *controller,
                     const struct cgroup_limits *limits)
{
    if (strcmp(controller, "memory") == 0)
        return set_memory(m, folder, limits->memory_bytes);
    if (strcmp(controller, "cpu") == 0)
        return set_cpu(m, folder, limits->cpu_percent);
    return put_number(m, folder, "pids.max", limits->processes);
}

static bool is_wanted(const char *controller, const struct cgroup_limits *limits)
{
    return strcmp(controller, "memory") == 0 ? limits->memory_bytes > 0
           : strcmp(controller, "cpu") == 0  ? limits->cpu_percent > 0
                                             : limits->processes > 0;
}

static int limit_one(struct making *m, const char *controller, const struct cgroup_limits *limits,
                     struct llmos_error *err)
{
    char home[PATH_SIZE], folder[PATH_SIZE + 160];

    m->version = home_of(m->root, controller, home, sizeof(home));
    if (m->version == 0)
        return fail(err, LLMOS_EUNSUPPORTED, "no cgroup controller '%s'", controller);
    if (m->version == 2 && enable(m, home, controller) < 0)
        return errno == EBUSY
                   ? fail(err, LLMOS_EUNSUPPORTED,
                          "'%s' has other processes, so no group with '%s' can be made below it; "
                          "give llmosd its own (Delegate=yes)",
                          home, controller)
                   : fail_errno(err, "cannot use the cgroup controller '%s' in '%s'", controller,
                                home);
    snprintf(folder, sizeof(folder), "%s/%s", home, m->group);
    if (make_folder(m, folder) < 0)
        return fail_errno(err, "cannot make a cgroup in '%s'", home);
    if (set_limit(m, folder, controller, limits) < 0)
        return fail_errno(err, "cannot set the cgroup limit on '%s'", controller);
    return 0;
}

/* When a process started, in ticks since boot: with its id the name of one process for ever. */
static uint64_t start_of(const char *root, const char *process)
{
    char path[PATH_SIZE], line[1024], *at;
    uint64_t ticks = 0;

    if ((size_t)snprintf(path, sizeof(path), "%s/proc/%s/stat", root, process) >= sizeof(path) ||
        machine_read_line(path, line, sizeof(line)) <= 0)
        return 0;
    at = strrchr(line, ')'); /* the name before it may contain anything */
    /* fields 3 to 21 lie between */
    for (int i = 0; at && i < 20; i++)
        at = strchr(at + 1, ' ');
    if (at)
        ticks = strtoull(at + 1, NULL, 10);
    return ticks;
}

int cgroup_create(const char *root, const char *name, const struct cgroup_limits *limits,
                  char folders[CGROUP_FOLDERS_SIZE], char *detail, size_t detail_size,
                  struct llmos_error *err)
{
    static unsigned count; /* one thread at a time, says the header */
    struct making m = {.root = root, .folders = folders};
    struct llmos_error first = {0};
    int rc = 0, version = 0;

    folders[0] = 0;
    snprintf(m.group, sizeof(m.group), "llmos-%d-%" PRIu64 "-%u-%s", getpid(),
             start_of(root, "self"), __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED), name);
    for (size_t i = 0; i < CONTROLLERS; i++) {
        struct llmos_error why;
        size_t n = strlen(m.held);

        if (!is_wanted(controllers[i], limits))
            continue;
        if (limit_one(&m, controllers[i], limits, &why) < 0) {
            first = first.code ? first : why;
            rc = LLMOS_EUNSUPPORTED;
            continue;
        }
        version = m.version;
        snprintf(m.held + n, sizeof(m.held) - n, "%s%s", n ? ", " : "", controllers[i]);
    }
    if (rc < 0 && m.held[0])
        return fail(err, rc, "only %s: %s", m.held, first.text);
    if (rc < 0)
        return fail(err, rc, "%s", first.text);
    snprintf(detail, detail_size, "cgroup v%d: %s", version, m.held);
    return 0;
}

/* Copies the next folder of the list and steps over it; false at the end. */
static bool next_folder(const char **list, char *folder, size_t size)
{
    size_t n = strcspn(*list, "\n");

    if (n == 0 || n >= size)
        return false;
    memcpy(folder, *list, n);
    folder[n] = 0;
    *list += n + ((*list)[n] == '\n');
    return true;
}

int cgroup_join(const char *folders, struct llmos_error *err)
{
    const struct making m = {.root = ""};
    char folder[CGROUP_FOLDERS_SIZE];

    /* Moving a process makes the kernel wait until no processor can be in the middle of a fork, 7
     * to 20 ms the first time; a thread that moves itself waits for nobody.  Version 2 has no
     * "tasks", and lets threads part only in groups made for it. */
    while (next_folder(&folders, folder, sizeof(folder)))
        if (put(&m, folder, "tasks", "0") < 0 && put(&m, folder, "cgroup.procs", "0") < 0)
            return fail_errno(err, "cannot enter the cgroup '%s'", folder);
    return 0;
}

bool cgroup_ran_out_of_memory(const char *folders)
{
    static const char *const files[] = {"memory.events", "memory.oom_control"};
    char folder[CGROUP_FOLDERS_SIZE], path[CGROUP_FOLDERS_SIZE + 32], line[128];
    unsigned long kills = 0;

    while (next_folder(&folders, folder, sizeof(folder)))
        for (size_t i = 0; i < 2; i++) {
            FILE *f;

            snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
            f = fopen(path, "re");
            while (f && fgets(line, sizeof(line), f))
                if (strncmp(line, "oom_kill ", 9) == 0)
                    kills += strtoul(line + 9, NULL, 10);
            if (f)
                fclose(f);
        }
    return kills > 0;
}

void cgroup_remove(const char *folders)
{
    char folder[CGROUP_FOLDERS_SIZE];

    while (next_folder(&folders, folder, sizeof(folder)))
        for (int tries = 0; rmdir(folder) < 0 && errno == EBUSY && tries < 40; tries++)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* "llmos-PID-START-..." of a process that is no more. */
static bool is_stale(const char *root, const char *name)
{
    char process[16];
    uint64_t start;
    int end = 0;

    if (sscanf(name, "llmos-%15[0-9]-%" SCNu64 "-%n", process, &start, &end) != 2 || end == 0)
        return false;
    return start_of(root, process) != start;
}

void cgroup_remove_stale(const char *root)
{
    char home[PATH_SIZE], path[PATH_SIZE + 300];

    for (size_t i = 0; i < CONTROLLERS; i++) {
        DIR *dir = home_of(root, controllers[i], home, sizeof(home)) ? opendir(home) : NULL;

        for (struct dirent *e; dir && (e = readdir(dir));)
            if (is_stale(root, e->d_name)) {
                snprintf(path, sizeof(path), "%s/%s", home, e->d_name);
                rmdir(path); /* refused while a process is in it */
            }
        if (dir)
            closedir(dir);
    }
}
