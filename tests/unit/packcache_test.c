/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/file.h"
#include "base/mem.h"
#include "sched/packcache.h"
#include "tensor/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NOBODY 65534

static struct llmos_error err;
static char root[64];
static pid_t owner;

static void remove_root(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    if (getpid() == owner && system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", root);
}

/* A path in a folder that goes with the test. */
static const char *path(const char *name)
{
    static char paths[8][200];
    static unsigned next;
    char *at = paths[next++ % 8];

    if (!root[0]) {
        snprintf(root, sizeof(root), "/tmp/llmos-cache-XXXXXX");
        CHECK(mkdtemp(root));
        owner = getpid();
        atexit(remove_root);
    }
    snprintf(at, 200, "%s/%s", root, name);
    return at;
}

static struct packcache *open_cache(const char *name, uint64_t bytes_max)
{
    struct packcache_options o = {.folder = path(name), .bytes_max = bytes_max};
    struct packcache *c;

    if (packcache_open(&c, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    return c;
}

/* A hash that nothing has. */
static struct modelhash hash_of(int n)
{
    struct modelhash h;

    snprintf(h.hex, sizeof(h.hex), "%064x", n);
    return h;
}

static int begin(struct packcache *c, int n, struct packcache_entry *e)
{
    struct modelhash h = hash_of(n);

    return packcache_begin(c, &h, 4096, e, &err);
}

static void make(struct packcache *c, int n, size_t bytes)
{
    static char zeros[16384];
    struct packcache_entry e;

    if (begin(c, n, &e) != 1)
        TEST_FAIL("%s", err.text);
    CHECK_INT(file_write_all(e.fd, zeros, bytes), 0);
    if (packcache_keep(c, &e, &err) < 0)
        TEST_FAIL("%s", err.text);
}

static int get(struct packcache *c, int n)
{
    struct modelhash h = hash_of(n);

    return packcache_get(c, &h, &err);
}

static bool has(struct packcache *c, int n)
{
    int fd = get(c, n);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static const char *entry(const char *cache, int n, const char *ending)
{
    char name[200];

    snprintf(name, sizeof(name), "%s/packed/%s-%s%s", cache, hash_of(n).hex, PACKCACHE_LAYOUT,
             ending);
    return path(name);
}

static void age(const char *cache, int n, time_t used)
{
    struct timespec t[2] = {{used, 0}, {used, 0}};

    CHECK_INT(utimensat(AT_FDCWD, entry(cache, n, ".pack"), t, 0), 0);
}

static int model_of(const char *name, const char *text)
{
    int fd;

    CHECK_INT(file_replace(path(name), str_of(text), NULL), 0);
    fd = open(path(name), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

/* --- entries ---------------------------------------------------------------------------------- */

TEST(packcache_gives_what_was_kept_and_only_that)
{
    struct packcache *c = open_cache("plain", 0);
    struct packcache_entry e;
    struct stat st;
    char text[8] = "";
    int fd;

    CHECK_INT(get(c, 1), LLMOS_ENOTFOUND);
    CHECK_INT(begin(c, 1, &e), 1);
    CHECK_INT(e.bytes_max, 3 * 4096 + (1 << 20));
    CHECK_INT(fcntl(e.fd, F_GETFL) & O_ACCMODE, O_WRONLY);
    CHECK_INT(file_write_all(e.fd, "packed", 6), 0);
    CHECK_INT(get(c, 1), LLMOS_ENOTFOUND); /* it has no name yet */
    CHECK_INT(packcache_keep(c, &e, &err), 0);
    CHECK_INT(e.fd, -1);
    fd = get(c, 1);
    CHECK_INT(pread(fd, text, 7, 0), 6);
    CHECK_STR(text, "packed");
    CHECK_INT(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    CHECK(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600);
    close(fd);
    CHECK_INT(get(c, 2), LLMOS_ENOTFOUND);
    CHECK_INT(begin(c, 1, &e), 0); /* it is there */
    packcache_remove(c, &(struct modelhash){"none"});
    CHECK(has(c, 1));
    CHECK_INT(begin(c, 2, &e), 1);
    packcache_drop(c, &e);
    CHECK_INT(get(c, 2), LLMOS_ENOTFOUND);
    CHECK(access(entry("plain", 2, ".part"), F_OK) < 0);
    packcache_close(c);
}

TEST(packcache_remembers_that_packing_does_not_help)
{
    struct packcache *c = open_cache("useless", 0);
    struct packcache_entry e;

    CHECK_INT(begin(c, 1, &e), 1);
    CHECK_INT(packcache_mark_useless(c, &e, &err), 0);
    CHECK_INT(get(c, 1), LLMOS_EUNSUPPORTED);
    packcache_close(c);
    c = open_cache("useless", 0);
    CHECK_INT(get(c, 1), LLMOS_EUNSUPPORTED);
    packcache_close(c);
}

TEST(packcache_has_one_maker_at_a_time)
{
    struct packcache *c = open_cache("makers", 0), *other = open_cache("makers", 0);
    struct packcache_entry e, second;

    CHECK_INT(begin(c, 1, &e), 1);
    CHECK_INT(begin(other, 1, &second), LLMOS_EBUSY);
    CHECK_CONTAINS(err.text, "somebody else is making them");
    CHECK_INT(begin(other, 2, &second), 1); /* of another model */
    packcache_drop(other, &second);
    CHECK_INT(packcache_keep(c, &e, &err), 0);
    CHECK_INT(begin(other, 1, &second), 0);
    packcache_close(c);
    packcache_close(other);
}

TEST(packcache_makers_that_race_leave_one_whole_entry)
{
    struct packcache *c = open_cache("race", 0);
    char bytes[4096];
    int fd, status;

    for (int i = 0; i < 8; i++) {
        if (fork() != 0)
            continue;
        for (int n = 0; n < 50; n++) {
            struct packcache *mine = NULL;
            struct packcache_options o = {.folder = path("race")};
            struct packcache_entry e;

            if (packcache_open(&mine, &o, NULL) < 0)
                _exit(1);
            if (begin(mine, n % 5, &e) == 1) {
                memset(bytes, 'a' + n % 5, sizeof(bytes));
                if (file_write_all(e.fd, bytes, sizeof(bytes)) < 0)
                    _exit(2);
                if (n % 3 == 2)
                    packcache_drop(mine, &e);
                else if (packcache_keep(mine, &e, NULL) < 0)
                    _exit(3);
            }
            packcache_close(mine);
        }
        _exit(0);
    }
    while (wait(&status) > 0)
        CHECK_INT(status, 0);
    for (int n = 0; n < 5; n++) {
        fd = get(c, n);
        CHECK_INT(lseek(fd, 0, SEEK_END), sizeof(bytes));
        CHECK_INT(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
        CHECK(bytes[0] == 'a' + n && memcmp(bytes, bytes + 1, sizeof(bytes) - 1) == 0);
        CHECK(access(entry("race", n, ".part"), F_OK) < 0);
        close(fd);
    }
    packcache_close(c);
}

TEST(packcache_clears_away_after_makers_that_died)
{
    struct packcache *c = open_cache("dead", 0);
    struct packcache_entry e;
    pid_t child = fork();

    if (child == 0)
        _exit(begin(c, 1, &e) == 1 && write(e.fd, "half", 4) == 4 ? 0 : 1);
    CHECK_INT(waitpid(child, NULL, 0), child);
    CHECK(access(entry("dead", 1, ".part"), F_OK) == 0);
    CHECK_INT(begin(c, 2, &e), 1);
    CHECK(access(entry("dead", 1, ".part"), F_OK) < 0);
    packcache_drop(c, &e);
    make(c, 1, 100);
    CHECK(has(c, 1));
    packcache_close(c);
}

/* --- bounds ----------------------------------------------------------------------------------- */

TEST(packcache_removes_what_was_unused_longest)
{
    struct packcache *c = open_cache("lru", 3 * 4096);
    char *map;
    int fd;

    for (int n = 1; n <= 3; n++) {
        make(c, n, 4096);
        age("lru", n, 1000 + n);
    }
    CHECK(has(c, 1)); /* used: now the youngest */
    fd = get(c, 2);
    age("lru", 2, 1002);
    map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    make(c, 4, 4096);
    CHECK(has(c, 1) && !has(c, 2) && has(c, 3) && has(c, 4));
    CHECK_INT(map[4095], 0); /* whoever has it mapped keeps it */
    munmap(map, 4096);
    close(fd);
    packcache_close(c);
}

TEST(packcache_counts_what_an_entry_really_has)
{
    struct packcache *c = open_cache("large", 3 * 4096);

    make(c, 1, 4096);
    age("large", 1, 1000);
    make(c, 2, 10000); /* more than the model's size promised */
    CHECK(!has(c, 1) && has(c, 2));
    packcache_close(c);
}

TEST(packcache_says_when_a_model_is_too_large_for_it)
{
    struct packcache *c = open_cache("small", 3 << 20);
    struct modelhash h = hash_of(9);
    struct packcache_entry e;

    make(c, 1, 4096);
    CHECK_INT(packcache_begin(c, &h, 5 << 20, &e, &err), LLMOS_ELIMIT);
    CHECK_CONTAINS(err.text, "they need about 5 MiB, the cache may hold 3 MiB");
    CHECK(has(c, 1)); /* nothing is removed for what will not fit */
    CHECK(access(entry("small", 9, ".part"), F_OK) < 0);
    packcache_close(c);
}

TEST(packcache_leaves_half_of_the_room_to_others)
{
    struct packcache *c;
    struct packcache_entry e;
    struct modelhash h = hash_of(1);

    CHECK_INT(mkdir(path("disk"), 0700), 0);
    if (mount("llmos-test", path("disk"), "tmpfs", 0, "size=4m,mode=0700") < 0)
        SKIP("only root may mount a small disk");
    c = open_cache("disk/cache", 0);
    CHECK_INT(packcache_begin(c, &h, 3 << 20, &e, &err), LLMOS_ELIMIT);
    CHECK_CONTAINS(err.text, "they need about 3 MiB");
    CHECK_INT(packcache_begin(c, &h, 1 << 20, &e, &err), 1);
    CHECK(e.bytes_max <= 2 << 20);
    packcache_drop(c, &e);
    packcache_close(c);
    CHECK_INT(umount(path("disk")), 0);
}

/* --- hostile folders -------------------------------------------------------------------------- */

static void expect_denied(const char *name, bool is_shared, const char *says)
{
    struct packcache_options o = {.folder = path(name), .is_shared = is_shared};
    struct packcache *c;

    CHECK_INT(packcache_open(&c, &o, &err), LLMOS_EDENIED);
    CHECK_CONTAINS(err.text, says);
}

TEST(packcache_refuses_folders_that_others_may_write)
{
    struct packcache_options o = {.folder = NULL};
    struct packcache *c;
    mode_t modes[] = {0770, 0707, 0722, 01777};

    CHECK_INT(mkdir(path("open"), 0700), 0);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_INT(chmod(path("open"), modes[i]), 0);
        expect_denied("open", false, "others may write to the folder");
        expect_denied("open", true, "others may write to the folder");
    }
    CHECK_INT(chmod(path("open"), 0755), 0); /* reading is no harm: files have their own modes */
    packcache_close(open_cache("open", 0));
    CHECK_INT(chmod(path("open/packed"), 0777), 0);
    expect_denied("open", false, "others may write to the folder");
    CHECK_INT(file_replace(path("file"), STR("x"), NULL), 0);
    o.folder = path("file");
    CHECK(packcache_open(&c, &o, &err) < 0);
    CHECK_CONTAINS(err.text, "Not a directory");
    o.folder = "/proc/llmos";
    CHECK(packcache_open(&c, &o, &err) < 0);
    CHECK_CONTAINS(err.text, "cache of packed weights: cannot make the folder '/proc/llmos'");
}

TEST(packcache_uses_only_folders_of_ours_and_of_root)
{
    struct packcache_options o = {.is_shared = true};
    struct packcache *c;
    pid_t child;
    int status;

    if (geteuid() != 0)
        SKIP("only root may give folders away");
    CHECK_INT(mkdir(path("theirs"), 0700), 0);
    CHECK_INT(chown(path("theirs"), NOBODY, NOBODY), 0);
    expect_denied("theirs", false, "belongs to user 65534; set LLMOS_CACHE");
    expect_denied("theirs", true, "belongs to user 65534");
    /* Root's, if root shares it: others read it and cannot write. */
    CHECK_INT(chmod(root, 0755), 0);
    packcache_close(open_cache("private", 0));
    o.folder = path("ours");
    CHECK_INT(packcache_open(&c, &o, &err), 0);
    make(c, 1, 10);
    child = fork();
    if (child == 0) {
        struct packcache *mine;
        struct packcache_entry e;

        if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(1);
        o.is_shared = false;
        if (packcache_open(&mine, &o, NULL) < 0 || !has(mine, 1))
            _exit(2);
        if (begin(mine, 2, &e) != LLMOS_EDENIED)
            _exit(3);
        o.folder = path("private");
        _exit(packcache_open(&mine, &o, NULL) == LLMOS_EDENIED ? 0 : 4);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(WEXITSTATUS(status), 0);
    packcache_close(c);
}

TEST(packcache_follows_no_link_and_opens_nothing_strange)
{
    struct packcache *c = open_cache("links", 0);
    struct packcache_entry e;
    struct stat st;

    CHECK_INT(file_replace(path("secret"), STR("secret"), NULL), 0);
    CHECK_INT(symlink(path("secret"), entry("links", 1, ".pack")), 0);
    CHECK_INT(get(c, 1), LLMOS_ENOTFOUND);
    CHECK(lstat(entry("links", 1, ".pack"), &st) < 0); /* it is in nobody's way any more */
    CHECK_INT(mkfifo(entry("links", 2, ".pack"), 0600), 0);
    CHECK_INT(get(c, 2), LLMOS_ENOTFOUND);
    CHECK_INT(symlink(path("secret"), entry("links", 3, ".part")), 0);
    CHECK_INT(begin(c, 3, &e), 1);
    CHECK_INT(file_write_all(e.fd, "x", 1), 0);
    CHECK_INT(packcache_keep(c, &e, &err), 0);
    CHECK(stat(path("secret"), &st) == 0 && st.st_size == 6);
    make(c, 4, 10);
    CHECK_INT(chmod(entry("links", 4, ".pack"), 0666), 0);
    CHECK_INT(get(c, 4), LLMOS_ENOTFOUND);
    make(c, 5, 10);
    if (geteuid() == 0) {
        CHECK_INT(chown(entry("links", 5, ".pack"), NOBODY, NOBODY), 0);
        CHECK_INT(get(c, 5), LLMOS_ENOTFOUND);
    }
    packcache_close(c);
}

/* --- hashes ----------------------------------------------------------------------------------- */

static int hash(struct packcache *c, int fd, const char *name, struct modelhash *h)
{
    return modelhash_make(packcache_folder(c), fd, name, NULL, NULL, h, &err);
}

TEST(modelhash_is_that_of_the_content_and_is_remembered)
{
    struct packcache *c = open_cache("hash", 0);
    const struct cachefolder *f = packcache_folder(c);
    char name[MODELHASH_NAME_SIZE];
    int fd = model_of("abc", "abc"), again;
    struct modelhash h, found;

    CHECK_INT(modelhash_find(f, fd, &found), 0);
    CHECK_INT(hash(c, fd, "/models/abc.gguf", &h), 0);
    /* FIPS 180-2, appendix B.1 */
    CHECK_STR(h.hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_INT(modelhash_find(f, fd, &found), 1);
    CHECK_STR(found.hex, h.hex);
    CHECK(modelhash_name(f, &h, name));
    CHECK_STR(name, "/models/abc.gguf");
    again = model_of("other", "abc"); /* the same in another file: must be read, is the same */
    CHECK_INT(modelhash_find(f, again, &found), 0);
    CHECK_INT(hash(c, again, "a\nb", &found), 0);
    CHECK_STR(found.hex, h.hex);
    close(again);
    close(fd);
    packcache_close(c);
}

TEST(modelhash_notices_every_change)
{
    struct packcache *c = open_cache("changes", 0);
    int fd = model_of("changing", "first"), writer = open(path("changing"), O_WRONLY | O_CLOEXEC);
    struct timespec times[2];
    struct modelhash h, other;
    struct stat st;

    CHECK_INT(hash(c, fd, "x", &h), 0);
    CHECK(fstat(fd, &st) == 0);
    CHECK_INT(pwrite(writer, "F", 1, 0), 1);
    times[0] = st.st_atim; /* the time of modification can be set back, that of change cannot */
    times[1] = st.st_mtim;
    CHECK_INT(futimens(writer, times), 0);
    CHECK_INT(modelhash_find(packcache_folder(c), fd, &other), 0);
    CHECK_INT(hash(c, fd, "x", &other), 0);
    CHECK(strcmp(h.hex, other.hex) != 0);
    close(writer);
    close(fd);
    packcache_close(c);
}

TEST(modelhash_survives_a_damaged_memory)
{
    static const char *const broken[] = {
        "",
        "1",
        "1 zz",
        "2 1 1 3 0 0 abc x\n",
        "1 1 1 3 0 0 %s%s%s\n",
        "1 1 1 99999999999999999999 0 0 ba7816bf8f01cfea414140de5dae2223b00361a39617 x\n",
        "1 1 1 3 0 0 ZA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad x\n"};
    struct packcache *c = open_cache("broken", 0);
    const struct cachefolder *f = packcache_folder(c);
    int fd = model_of("model", "abc");
    char record[200];
    struct modelhash h, found;
    struct stat st;

    CHECK(fstat(fd, &st) == 0);
    snprintf(record, sizeof(record), "broken/packed/%llx-%llx.model", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    CHECK_INT(hash(c, fd, "x", &h), 0);
    for (unsigned i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        CHECK_INT(modelhash_find(f, fd, &found), 1);
        CHECK_INT(file_replace(path(record), str_of(broken[i]), NULL), 0);
        CHECK_INT(modelhash_find(f, fd, &found), 0);
        CHECK_INT(hash(c, fd, "x", &found), 0);
        CHECK_STR(found.hex, h.hex);
    }
    CHECK_INT(unlink(path(record)), 0);
    CHECK_INT(symlink("/etc/passwd", path(record)), 0);
    CHECK_INT(modelhash_find(f, fd, &found), 0);
    close(fd);
    packcache_close(c);
}

static int stop_at_once(void *arg, uint64_t done, uint64_t total)
{
    *(uint64_t *)arg = total - done;
    return LLMOS_ECANCELED;
}

TEST(modelhash_can_be_interrupted)
{
    struct packcache *c = open_cache("stop", 0);
    int fd = model_of("model", "abc");
    uint64_t left = 99;
    struct modelhash h;

    CHECK_INT(modelhash_make(packcache_folder(c), fd, "x", stop_at_once, &left, &h, &err),
              LLMOS_ECANCELED);
    CHECK_INT(left, 0);
    CHECK_INT(modelhash_find(packcache_folder(c), fd, &h), 0);
    close(fd);
    packcache_close(c);
}

/* --- the rest --------------------------------------------------------------------------------- */

TEST(packcache_lists_and_cleans)
{
    struct packcache *c = open_cache("list", 0);
    struct packcache_item *items;
    struct packcache_entry e;
    int fd = model_of("abc", "abc");
    struct modelhash h;
    uint64_t bytes;
    size_t count;

    CHECK_INT(hash(c, fd, "/m/abc.gguf", &h), 0);
    close(fd);
    CHECK_INT(packcache_begin(c, &h, 4096, &e, &err), 1);
    CHECK_INT(file_write_all(e.fd, "12345", 5), 0);
    CHECK_INT(packcache_keep(c, &e, &err), 0);
    make(c, 7, 1000);
    age("list", 7, 1234);
    CHECK_INT(begin(c, 8, &e), 1); /* being made: no entry, and not cleaned away */
    CHECK_INT(packcache_list(c, &items, &count, &err), 0);
    CHECK_INT(count, 2);
    CHECK_STR(items[0].model.hex, hash_of(7).hex);
    CHECK_STR(items[0].name, "");
    CHECK_INT(items[0].used_ns, 1234 * 1000000000ll);
    CHECK_STR(items[1].name, "/m/abc.gguf");
    CHECK_INT(items[1].bytes, 5);
    mem_free(items);
    CHECK_INT(packcache_clean(c, &bytes, &err), 0);
    CHECK(bytes >= 1005);
    CHECK_INT(packcache_list(c, &items, &count, &err), 0);
    CHECK_INT(count, 0);
    mem_free(items);
    CHECK_INT(packcache_keep(c, &e, &err), 0);
    CHECK(has(c, 8));
    packcache_close(c);
}

TEST(packcache_survives_every_failed_allocation)
{
    struct packcache_options o = {.folder = path("memory")};
    int fd = model_of("abc", "abc");

    EVERY_ALLOCATION_FAILS
    {
        struct packcache *c;
        int rc = packcache_open(&c, &o, &err);
        struct packcache_item *items = NULL;
        struct packcache_entry e;
        struct modelhash h;
        size_t count;

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        if (rc < 0)
            continue;
        rc = hash(c, fd, "x", &h);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        rc = rc == 0 ? packcache_begin(c, &h, 4096, &e, &err) : rc;
        CHECK(rc >= 0 || rc == LLMOS_ENOMEM);
        if (rc == 1)
            CHECK_INT(packcache_keep(c, &e, &err), 0);
        rc = packcache_list(c, &items, &count, &err);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        mem_free(items);
        packcache_close(c);
    }
    close(fd);
}
