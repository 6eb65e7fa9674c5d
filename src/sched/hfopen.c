/* SPDX-License-Identifier: Apache-2.0 */
/* hfopen.c - see hfopen.h */
#include "sched/hfopen.h"

#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

_Static_assert(HFFOLDER_FILES_MAX <= MESSAGE_FILES_MAX, "a message names all files");

#define INDEX_BYTES_MAX (64u << 20)

bool hfopen_is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* 1: opened; 0: there is none of that name. */
static int open_one(struct hfopen *h, const char *path, const char *name, struct llmos_error *err)
{
    char whole[PATH_MAX];
    struct stat st;
    int fd;

    if (snprintf(whole, sizeof(whole), "%s/%s", path, name) >= (int)sizeof(whole))
        return fail(err, LLMOS_ELIMIT, "the name of the folder is too long");
    if (stat(whole, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    fd = file_open_regular(whole, err);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || h->count == MESSAGE_FILES_MAX) {
        close(fd);
        return fail(err, LLMOS_ELIMIT, "the folder has more than %d files", MESSAGE_FILES_MAX);
    }
    if (st.st_size == 0) { /* says as much as none */
        close(fd);
        return 0;
    }
    snprintf(h->names[h->count], sizeof(h->names[0]), "%s", name);
    h->fds[h->count++] = fd;
    h->bytes += (uint64_t)st.st_size;
    return 1;
}

static int read_index(const char *path, struct buf *text, struct llmos_error *err)
{
    char whole[PATH_MAX];

    if (snprintf(whole, sizeof(whole), "%s/%s", path, HFFOLDER_INDEX) >= (int)sizeof(whole))
        return fail(err, LLMOS_ELIMIT, "the name of the folder is too long");
    return file_read(whole, text, err);
}

static int open_listed(struct hfopen *h, const char *path, struct llmos_error *err)
{
    struct str shards[HFFOLDER_SHARDS_MAX];
    CLEANUP(buf) struct buf text = {.at = NULL};
    struct arena arena;
    int count, rc;

    buf_init(&text, INDEX_BYTES_MAX);
    rc = read_index(path, &text, err);
    if (rc < 0)
        return rc;
    arena_init(&arena, 24 * text.len + 65536);
    count = hffolder_shards(buf_str(&text), &arena, shards, err);
    rc = count < 0 ? count : 0;
    for (int i = 0; i < count && rc == 0; i++) {
        char name[HFFOLDER_NAME_MAX + 1];

        snprintf(name, sizeof(name), "%.*s", STR_ARG(shards[i]));
        rc = open_one(h, path, name, err);
        if (rc == 0)
            rc = fail(err, LLMOS_ENOTFOUND,
                      "'%s' names '%s', which is not there or empty; is the download complete?",
                      HFFOLDER_INDEX, name);
        rc = rc < 0 ? rc : 0;
    }
    arena_fini(&arena);
    return rc;
}

static bool is_pickle(const char *name)
{
    static const char *const endings[] = {".bin", ".pt", ".pth", ".ckpt"};
    size_t n = strlen(name);

    for (size_t i = 0; i < 4; i++) {
        size_t m = strlen(endings[i]);

        if (n > m && strcmp(name + n - m, endings[i]) == 0)
            return true;
    }
    return false;
}

static int no_tensors(const char *path, struct llmos_error *err)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    int rc = 0;

    while (dir && rc == 0 && (e = readdir(dir)))
        if (is_pickle(e->d_name))
            rc =
                fail(err, LLMOS_EUNSUPPORTED,
                     "its weights are in '%.80s', a pickle of PyTorch: whoever reads one runs the "
                     "code that is in it, so it is not read here; take a version of the model with "
                     "model.safetensors, or save it anew with safetensors where it is trusted",
                     e->d_name);
    if (dir)
        closedir(dir);
    return rc < 0 ? rc
                  : fail(err, LLMOS_ENOTFOUND,
                         "no folder of Hugging Face: it has neither '%s' nor '%s'", HFFOLDER_ONE,
                         HFFOLDER_INDEX);
}

static int open_all(struct hfopen *h, const char *path, struct llmos_error *err)
{
    bool has_index = false;
    int rc = 0;

    for (unsigned i = 0; hffolder_name_at(i) && rc >= 0; i++) {
        rc = open_one(h, path, hffolder_name_at(i), err);
        has_index |= rc == 1 && strcmp(hffolder_name_at(i), HFFOLDER_INDEX) == 0;
    }
    if (rc >= 0)
        rc = open_one(h, path, HFFOLDER_ONE, err);
    if (rc == 0)
        rc = has_index ? open_listed(h, path, err) : no_tensors(path, err);
    return rc < 0 ? rc : 0;
}

int hfopen_open(struct hfopen *h, const char *path, struct llmos_error *err)
{
    int rc;

    h->count = 0;
    h->bytes = 0;
    rc = open_all(h, path, err);
    if (rc < 0)
        hfopen_close(h);
    return rc;
}

void hfopen_close(struct hfopen *h)
{
    while (h->count > 0)
        close(h->fds[--h->count]);
}
