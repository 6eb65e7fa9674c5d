/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c - see machine.h */
#include "base/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PATH_SIZE 1024
#define NO_LIMIT  UINT64_MAX

static FILE *open_in(const char *root, const char *path)
{
    char whole[PATH_SIZE];

    if ((size_t)snprintf(whole, sizeof(whole), "%s%s", root, path) >= sizeof(whole))
        return NULL;
    return fopen(whole, "re");
}

int machine_read_line(const char *path, char *line, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0 || size == 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    n = read(fd, line, size - 1);
    close(fd);
    if (n < 0)
        return -1;
    line[n] = 0;
    line[strcspn(line, "\n")] = 0;
    return (int)strlen(line);
}

/* True if word is one of those in a list separated by commas. */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (strncmp(at, word, n) == 0 && (at[n] == 0 || at[n] == ','))
            return true;
    return false;
}

/* /proc/self/cgroup: "4:memory:/path" for version 1, "0::/path" for version 2.  Returns the
 * version. */
static int group_of(const char *root, const char *controller, char *path, size_t size)
{
    FILE *f = open_in(root, "/proc/self/cgroup");
    char line[PATH_SIZE];
    int version = 0;

    while (f && version != 1 && fgets(line, sizeof(line), f)) {
        char *list = strchr(line, ':');
        char *at = list ? strchr(list + 1, ':') : NULL;
        int found;

        line[strcspn(line, "\n")] = 0;
        if (!at || at[1] != '/' || strstr(at, "/.."))
            continue; /* "/..": the group lies outside our cgroup namespace */
        *at++ = 0;
        found = list[1] == 0 ? 2 : has_word(list + 1, controller) ? 1 : 0;
        if (found && strlen(at) < size) {
            strcpy(path, at);
            version = found;
        }
    }
    if (f)
        fclose(f);
    return version;
}

/* One line of mountinfo: "31 23 0:28 /root /mount/point options - type source super,options". */
static bool is_mount_of(char *line, int version, const char *controller, char **shown, char **point)
{
    char *dash = strstr(line, " - ");
    char *save = NULL, *type, *options;

    if (!dash)
        return false;
    *dash = 0;
    type = strtok_r(dash + 3, " \n", &save);
    options = strtok_r(NULL, " \n", &save) ? strtok_r(NULL, " \n", &save) : NULL;
    if (!type || strcmp(type, version == 2 ? "cgroup2" : "cgroup") != 0)
        return false;
    if (version == 1 && (!options || !has_word(options, controller)))
        return false;
    for (int i = 0; i < 3; i++)
        strtok_r(i == 0 ? line : NULL, " ", &save);
    *shown = strtok_r(NULL, " ", &save);
    *point = strtok_r(NULL, " ", &save);
    return *shown && *point;
}

int machine_cgroup(const char *root, const char *controller, char *folder, size_t folder_size,
                   size_t *mount_length)
{
    char path[PATH_SIZE], line[4096];
    int version = group_of(root, controller, path, sizeof(path));
    FILE *f = version ? open_in(root, "/proc/self/mountinfo") : NULL;
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f)) {
        char *shown, *point, *below = path;
        size_t n;
        int length;

        if (!is_mount_of(line, version, controller, &shown, &point))
            continue;
        /* A container may see only its own part of the tree: "/docker/x" is mounted as the top. */
        n = strcmp(shown, "/") == 0 ? 0 : strlen(shown);
        if (n > 0 && strncmp(path, shown, n) == 0 && (path[n] == 0 || path[n] == '/'))
            below = path + n;
        length = snprintf(folder, folder_size, "%s%s%s", root, point,
                          strcmp(below, "/") == 0 ? "" : below);
        found = length > 0 && (size_t)length < folder_size;
        *mount_length = strlen(root) + strlen(point);
    }
    if (f)
        fclose(f);
    return found ? version : 0;
}

/* The number in folder/file; NO_LIMIT for "max", "-1" and what cannot be read. */
static uint64_t number_in(const char *folder, const char *file)
{
    char path[PATH_SIZE + 64], line[64], *end;
    uint64_t v;

    snprintf(path, sizeof(path), "%s/%s", folder, file);
    if (machine_read_line(path, line, sizeof(line)) <= 0 || line[0] < '0' || line[0] > '9')
        return NO_LIMIT;
    errno = 0;
    v = strtoull(line, &end, 10);
    return errno ? NO_LIMIT : v;
}

/* Processors allowed by the quota of one group, in hundredths; NO_LIMIT if there is none. */
static uint64_t quota_of(const char *folder, int version)
{
    char path[PATH_SIZE + 64], line[64];
    uint64_t quota = NO_LIMIT, period = 100000;

    if (version == 1) {
        quota = number_in(folder, "cpu.cfs_quota_us");
        period = number_in(folder, "cpu.cfs_period_us");
    } else {
        snprintf(path, sizeof(path), "%s/cpu.max", folder);
        if (machine_read_line(path, line, sizeof(line)) <= 0 ||
            sscanf(line, "%" SCNu64 " %" SCNu64, &quota, &period) != 2)
            return NO_LIMIT;
    }
    if (quota > UINT64_MAX / 100 || period == 0 || period == NO_LIMIT)
        return NO_LIMIT;
    return quota * 100 / period;
}

/* Cuts the last part of the path off; false at the mount point. */
static bool go_up(char *folder, size_t mount_length)
{
    char *slash = strrchr(folder, '/');

    if (!slash || (size_t)(slash - folder) < mount_length || strlen(folder) <= mount_length)
        return false;
    *slash = 0;
    return true;
}

unsigned machine_cpus_at(const char *root, unsigned usable)
{
    char folder[PATH_SIZE];
    size_t top;
    int version = machine_cgroup(root, "cpu", folder, sizeof(folder), &top);
    uint64_t least = (uint64_t)usable * 100;

    if (version > 0) {
        do {
            uint64_t quota = quota_of(folder, version);

            least = quota < least ? quota : least;
        } while (go_up(folder, top));
    }
    least = (least + 50) / 100;
    return least > 0 ? (unsigned)least : 1;
}

void machine_cpu_name(const char *root, char *name, size_t size)
{
    FILE *f = open_in(root, "/proc/cpuinfo");
    char line[512];
    struct utsname system;

    snprintf(name, size, "%s", uname(&system) == 0 ? system.machine : "unknown");
    while (f && fgets(line, sizeof(line), f)) {
        const char *colon = strchr(line, ':');

        if (!colon || strncmp(line, "model name", 10) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(name, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (f)
        fclose(f);
}

unsigned machine_cpus(void)
{
    cpu_set_t *set;
    unsigned count = 0;

    /* The kernel wants a set as large as its own. */
    for (int cpus = 1024; cpus <= 1 << 20 && count == 0; cpus *= 4) {
        size_t bytes = CPU_ALLOC_SIZE(cpus);

        set = CPU_ALLOC((size_t)cpus);
        if (set && sched_getaffinity(0, bytes, set) == 0)
            count = (unsigned)CPU_COUNT_S(bytes, set);
        else if (!set || errno != EINVAL)
            cpus = 1 << 20;
        CPU_FREE(set);
    }
    return machine_cpus_at("", count > 0 ? count : 1);
}

/* "Name:  123 kB" or "name 123" in a file of such lines; NO_LIMIT if it is not there. */
static uint64_t field_in(FILE *f, const char *name)
{
    char line[256];
    size_t n = strlen(name);
    uint64_t v = NO_LIMIT;

    while (f && v == NO_LIMIT && fgets(line, sizeof(line), f))
        if (strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == ':'))
            v = strtoull(line + n + 1, NULL, 10);
    if (f)
        fclose(f);
    return v;
}

static uint64_t kilobytes(FILE *f, const char *name)
{
    uint64_t v = field_in(f, name);

    return v > UINT64_MAX / 1024 ? 0 : v * 1024;
}

/* Pages of files that nobody used of late: the kernel gives them back before it refuses. */
static uint64_t cache_in(const char *folder, int version)
{
    char path[PATH_SIZE + 64];
    uint64_t v;

    snprintf(path, sizeof(path), "%s/memory.stat", folder);
    v = field_in(fopen(path, "re"), version == 1 ? "total_inactive_file" : "inactive_file");
    return v == NO_LIMIT ? 0 : v;
}

static void narrow(struct machine_memory *m, const char *folder, int version)
{
    uint64_t limit = number_in(folder, version == 1 ? "memory.limit_in_bytes" : "memory.max");
    uint64_t used = number_in(folder, version == 1 ? "memory.usage_in_bytes" : "memory.current");
    uint64_t cache = cache_in(folder, version), left;

    if (limit == NO_LIMIT)
        return;
    if (limit < m->total_bytes)
        m->total_bytes = limit;
    used = used == NO_LIMIT ? 0 : used > cache ? used - cache : 0;
    left = limit > used ? limit - used : 0;
    if (left < m->available_bytes)
        m->available_bytes = left;
}

struct machine_memory machine_memory_at(const char *root)
{
    struct machine_memory m = {kilobytes(open_in(root, "/proc/meminfo"), "MemTotal"),
                               kilobytes(open_in(root, "/proc/meminfo"), "MemAvailable")};
    char folder[PATH_SIZE];
    size_t top;
    int version = machine_cgroup(root, "memory", folder, sizeof(folder), &top);

    if (version > 0) {
        do
            narrow(&m, folder, version);
        while (go_up(folder, top));
    }
    return m;
}

struct machine_memory machine_memory(void)
{
    return machine_memory_at("");
}

size_t machine_page_bytes(void)
{
    long n = sysconf(_SC_PAGESIZE);

    return n > 0 ? (size_t)n : 4096;
}
