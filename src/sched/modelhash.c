/* SPDX-License-Identifier: Apache-2.0 */
/* modelhash.c - see modelhash.h */
#include "sched/modelhash.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define ENDING      ".model"
#define UNNAMED     ".new"
#define UNNAMED_MAX 64 /* more than are written at a time; the rest is of processes that died */
#define CHUNK       (1u << 20)
#define RECORD_SIZE (MODELHASH_NAME_SIZE + 256)
#define TICK_NS     100000000 /* more than a tick of any kernel's clock */

/* What must not have changed. */
struct state {
    uint64_t device, inode, bytes;
    int64_t modified_ns, changed_ns;
};

static int64_t ns_of(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int look(int fd, struct state *s, struct llmos_error *err)
{
    struct stat st;

    *s = (struct state){.device = 0};
    if (fstat(fd, &st) < 0)
        return fail_errno(err, "cannot look at the model");
    *s = (struct state){st.st_dev, st.st_ino, (uint64_t)st.st_size, ns_of(st.st_mtim),
                        ns_of(st.st_ctim)};
    return 0;
}

static bool is_same(const struct state *a, const struct state *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

/* --- what is remembered ----------------------------------------------------------------------- */

static bool is_hex(const char *text)
{
    return strlen(text) == MODELHASH_HEX_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == MODELHASH_HEX_SIZE - 1;
}

/* One line: the state, the hash, the name. */
static bool parse(const char *text, struct state *s, struct modelhash *hash,
                  char name[MODELHASH_NAME_SIZE])
{
    char hex[MODELHASH_HEX_SIZE];
    int at = 0;

    if (sscanf(text, "1 %" SCNx64 " %" SCNx64 " %" SCNu64 " %" SCNd64 " %" SCNd64 " %64s %n",
               &s->device, &s->inode, &s->bytes, &s->modified_ns, &s->changed_ns, hex, &at) != 6 ||
        at == 0 || !is_hex(hex))
        return false;
    memcpy(hash->hex, hex, sizeof(hex));
    snprintf(name, MODELHASH_NAME_SIZE, "%.*s", (int)strcspn(text + at, "\n"), text + at);
    return true;
}

static bool read_record(const struct cachefolder *f, const char *file, struct state *s,
                        struct modelhash *hash, char name[MODELHASH_NAME_SIZE])
{
    CLEANUP(fd) int fd = cachefolder_open_file(f, file, NULL);
    char text[RECORD_SIZE];
    ssize_t n;

    if (fd < 0)
        return false;
    n = pread(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return parse(text, s, hash, name);
}

static void record_name(const struct state *s, char out[CACHEFOLDER_NAME_SIZE])
{
    snprintf(out, CACHEFOLDER_NAME_SIZE, "%" PRIx64 "-%" PRIx64 ENDING, s->device, s->inode);
}

/* All but the youngest. */
static void forget(const struct cachefolder *f, const char *ending, size_t kept)
{
    struct cachefile *files;
    size_t count;

    if (cachefolder_list(f, ending, &files, &count, NULL) < 0)
        return;
    for (size_t i = 0; i + kept < count; i++)
        unlinkat(f->fd, files[i].name, 0);
    mem_free(files);
}

/* Without a word if it cannot be: then it is read again next time. */
static void remember(const struct cachefolder *f, const char *file, const struct state *s,
                     const char *name, const struct modelhash *hash)
{
    static _Atomic unsigned counter;
    char temporary[CACHEFOLDER_NAME_SIZE], text[RECORD_SIZE];
    CLEANUP(fd) int fd = -1;
    int n = snprintf(text, sizeof(text),
                     "1 %" PRIx64 " %" PRIx64 " %" PRIu64 " %" PRId64 " %" PRId64 " %s %.*s\n",
                     s->device, s->inode, s->bytes, s->modified_ns, s->changed_ns, hash->hex,
                     (int)strcspn(name, "\n"), name);

    if (n >= (int)sizeof(text))
        return;
    snprintf(temporary, sizeof(temporary), "%d-%u" UNNAMED, (int)getpid(),
             atomic_fetch_add(&counter, 1));
    unlinkat(f->fd, temporary, 0); /* of a process that had our number */
    fd = openat(f->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (file_write_all(fd, text, (size_t)n) < 0 ||
        cachefolder_keep(f, temporary, file, fd, NULL) < 0)
        unlinkat(f->fd, temporary, 0);
    forget(f, ENDING, MODELHASH_KNOWN_MAX);
    forget(f, UNNAMED, UNNAMED_MAX);
}

void modelhash_set_name(const struct cachefolder *f, const struct modelhash *hash, const char *name)
{
    const struct state none = {.device = 0};
    char file[CACHEFOLDER_NAME_SIZE];

    snprintf(file, sizeof(file), "%s" ENDING, hash->hex);
    remember(f, file, &none, name, hash);
}

int modelhash_find(const struct cachefolder *f, int fd, struct modelhash *hash)
{
    char file[CACHEFOLDER_NAME_SIZE], name[MODELHASH_NAME_SIZE];
    struct state now, then;
    struct modelhash found;

    if (look(fd, &now, NULL) < 0)
        return 0;
    record_name(&now, file);
    if (!read_record(f, file, &then, &found, name) || !is_same(&now, &then))
        return 0;
    utimensat(f->fd, file, NULL, AT_SYMLINK_NOFOLLOW); /* in a folder of root's root does it */
    *hash = found;
    return 1;
}

bool modelhash_name(const struct cachefolder *f, const struct modelhash *hash,
                    char name[MODELHASH_NAME_SIZE])
{
    CLEANUP(free) struct cachefile *files = NULL;
    size_t count;

    if (cachefolder_list(f, ENDING, &files, &count, NULL) < 0)
        return false;
    while (count-- > 0) {
        char text[MODELHASH_NAME_SIZE];
        struct modelhash found;
        struct state s;

        if (read_record(f, files[count].name, &s, &found, text) &&
            strcmp(found.hex, hash->hex) == 0) {
            memcpy(name, text, sizeof(text));
            return true;
        }
    }
    return false;
}

/* --- reading the file ------------------------------------------------------------------------- */

/* Times are only as fine as the kernel's clock: a file that changes twice within a tick could keep
 * its times.  So whoever reads a new file waits until that cannot happen any more. */
static void let_time_pass(const struct state *s)
{
    struct timespec now, wait = {0, TICK_NS};

    clock_gettime(CLOCK_REALTIME, &now);
    if (ns_of(now) - s->changed_ns < TICK_NS)
        nanosleep(&wait, NULL);
}

static int read_all(int fd, uint64_t total, EVP_MD_CTX *c, unsigned char *chunk,
                    modelhash_progress progress, void *arg, struct llmos_error *err)
{
    uint64_t at = 0;

    while (at < total) {
        ssize_t n = pread(fd, chunk, CHUNK, (off_t)at);
        int rc;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, "cannot read the model");
        if (n == 0) /* it became shorter; whoever asked compares */
            return 0;
        if (EVP_DigestUpdate(c, chunk, (size_t)n) != 1)
            return fail(err, LLMOS_EINTERNAL, "SHA-256 is not to be had");
        at += (uint64_t)n;
        rc = progress ? progress(arg, at < total ? at : total, total) : 0;
        if (rc < 0)
            return fail(err, rc, "reading the model was interrupted");
    }
    return 0;
}

static int digest(int fd, uint64_t total, modelhash_progress progress, void *arg,
                  struct modelhash *hash, struct llmos_error *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE], *chunk = mem_alloc(CHUNK);
    EVP_MD_CTX *c = chunk ? EVP_MD_CTX_new() : NULL;
    unsigned n = 0;
    int rc;

    if (!c)
        rc = fail(err, LLMOS_ENOMEM, "no memory to read the model");
    else if (EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1)
        rc = fail(err, LLMOS_EINTERNAL, "SHA-256 is not to be had");
    else
        rc = read_all(fd, total, c, chunk, progress, arg, err);
    if (rc == 0 && (EVP_DigestFinal_ex(c, sum, &n) != 1 || n != (MODELHASH_HEX_SIZE - 1) / 2))
        rc = fail(err, LLMOS_EINTERNAL, "SHA-256 is not to be had");
    for (unsigned i = 0; rc == 0 && i < n; i++)
        snprintf(hash->hex + 2 * i, 3, "%02x", sum[i]);
    EVP_MD_CTX_free(c);
    mem_free(chunk);
    return rc;
}

int modelhash_text(struct str text, struct modelhash *hash, struct llmos_error *err)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (EVP_Digest(text.at, text.len, sum, &n, EVP_sha256(), NULL) != 1 ||
        n != (MODELHASH_HEX_SIZE - 1) / 2)
        return fail(err, LLMOS_EINTERNAL, "SHA-256 is not to be had");
    for (unsigned i = 0; i < n; i++)
        snprintf(hash->hex + 2 * i, 3, "%02x", sum[i]);
    return 0;
}

int modelhash_make(const struct cachefolder *f, int fd, const char *name,
                   modelhash_progress progress, void *arg, struct modelhash *hash,
                   struct llmos_error *err)
{
    char file[CACHEFOLDER_NAME_SIZE];
    struct state before, after;
    struct modelhash made;
    int rc = look(fd, &before, err);

    if (rc < 0)
        return rc;
    let_time_pass(&before);
    rc = digest(fd, before.bytes, progress, arg, &made, err);
    if (rc == 0)
        rc = look(fd, &after, err);
    if (rc < 0)
        return rc;
    if (!is_same(&before, &after))
        return fail(err, LLMOS_EBUSY, "the model changed while it was read; try again");
    record_name(&after, file);
    remember(f, file, &after, name, &made);
    *hash = made;
    return 0;
}

/* --- several files ---------------------------------------------------------------------------- */

/* One line for each. */
static int join(const struct modelhash *each, unsigned count, struct modelhash *hash,
                struct llmos_error *err)
{
    char text[GGUF_PARTS_MAX * MODELHASH_HEX_SIZE];

    for (unsigned i = 0; i < count; i++) {
        memcpy(text + (size_t)i * MODELHASH_HEX_SIZE, each[i].hex, MODELHASH_HEX_SIZE - 1);
        text[(size_t)(i + 1) * MODELHASH_HEX_SIZE - 1] = '\n';
    }
    if (count > 1)
        return modelhash_text((struct str){text, (size_t)count * MODELHASH_HEX_SIZE}, hash, err);
    *hash = each[0];
    return 0;
}

int modelhash_find_parts(const struct cachefolder *f, const struct parts *p, struct modelhash *hash)
{
    struct modelhash each[GGUF_PARTS_MAX];

    for (unsigned i = 0; i < p->count; i++)
        if (modelhash_find(f, p->fds[i], &each[i]) != 1)
            return 0;
    return join(each, p->count, hash, NULL) == 0;
}

struct reading {
    modelhash_progress progress;
    void *arg;
    uint64_t before, total;
};

static int tell(void *arg, uint64_t done, uint64_t total)
{
    const struct reading *r = arg;

    (void)total;
    return r->progress ? r->progress(r->arg, r->before + done, r->total) : 0;
}

int modelhash_make_parts(const struct cachefolder *f, const struct parts *p, const char *name,
                         modelhash_progress progress, void *arg, struct modelhash *hash,
                         struct llmos_error *err)
{
    struct reading r = {.progress = progress, .arg = arg, .total = p->bytes};
    struct modelhash each[GGUF_PARTS_MAX], made;
    struct state s = {.bytes = 0};
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < p->count; i++) {
        if (modelhash_find(f, p->fds[i], &each[i]) == 0)
            rc = modelhash_make(f, p->fds[i], name, tell, &r, &each[i], err);
        if (rc == 0)
            rc = look(p->fds[i], &s, err);
        r.before += s.bytes;
    }
    if (rc == 0)
        rc = join(each, p->count, &made, err);
    if (rc < 0)
        return rc;
    if (p->count > 1)
        modelhash_set_name(f, &made, name);
    *hash = made;
    return 0;
}
