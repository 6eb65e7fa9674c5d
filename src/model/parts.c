/* SPDX-License-Identifier: Apache-2.0 */
/* parts.c - see parts.h */
#include "model/parts.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DIGITS       5
#define ENDING_BYTES (sizeof("-00001-of-00003.gguf") - 1)

/* ---- names ---- */

static bool read_number(const char *at, unsigned *n)
{
    *n = 0;
    for (unsigned i = 0; i < DIGITS; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        *n = *n * 10 + (unsigned)(at[i] - '0');
    }
    return true;
}

/* Bytes in front of the ending; 0: the name has none. */
static size_t parse_name(const char *path, unsigned *no, unsigned *count)
{
    size_t n = strlen(path), stem = n > ENDING_BYTES ? n - ENDING_BYTES : 0;
    const char *end = path + stem;

    if (stem == 0 || path[stem - 1] == '/' || end[0] != '-' || !read_number(end + 1, no) ||
        memcmp(end + 1 + DIGITS, "-of-", 4) != 0 || !read_number(end + 5 + DIGITS, count) ||
        strcmp(end + 5 + 2 * DIGITS, ".gguf") != 0)
        return 0;
    return *no >= 1 && *no <= *count ? stem : 0;
}

size_t parts_stem(const char *path)
{
    unsigned no, count;

    return parse_name(path, &no, &count);
}

/* The n-th part, from 1, of the model that has this path. */
static int part_path(const char *path, size_t stem, unsigned n, unsigned count, char *out,
                     size_t size, struct llmos_error *err)
{
    int length = stem ? snprintf(out, size, "%.*s-%05u-of-%05u.gguf", (int)stem, path, n, count)
                      : snprintf(out, size, "%s", path);

    return length < 0 || (size_t)length >= size
               ? fail(err, LLMOS_ELIMIT, "the name of the model is too long")
               : 0;
}

int parts_first(const char *path, char *first, size_t size, struct llmos_error *err)
{
    unsigned no = 1, count = 1;
    size_t stem = parse_name(path, &no, &count);

    return part_path(path, stem, 1, count, first, size, err);
}

/* ---- opening ---- */

static int open_part(struct parts *p, const char *path, struct llmos_error *err)
{
    int fd = file_open_regular(path, err);
    struct stat st;

    if (fd < 0)
        return fd;
    p->fds[p->count++] = fd;
    if (fstat(fd, &st) < 0)
        return fail_errno(err, "cannot look at '%s'", path);
    p->bytes += (uint64_t)st.st_size;
    return 0;
}

static int open_parts(struct parts *p, const char *path, size_t stem, unsigned count,
                      struct llmos_error *err)
{
    char name[PATH_MAX];
    int rc = 0;

    if (count > GGUF_PARTS_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "'%s' is one of %u parts, at most %d are accepted; join them "
                    "(llama-gguf-split --merge FIRST-PART WHOLE)",
                    path, count, GGUF_PARTS_MAX);
    for (unsigned n = 1; rc == 0 && n <= count; n++) {
        rc = part_path(path, stem, n, count, name, sizeof(name), err);
        if (rc == 0)
            rc = open_part(p, name, err);
        if (rc == LLMOS_ENOTFOUND)
            return fail(err, rc,
                        "part %u of %u of the model is missing: '%s' is not there; is the download "
                        "complete?",
                        n, count, name);
        if (rc < 0)
            return fail_while(err, rc, "part %u of %u", n, count);
    }
    return rc;
}

int parts_open(struct parts *p, const char *path, struct llmos_error *err)
{
    unsigned no, count;
    size_t stem = parse_name(path, &no, &count);
    int rc;

    p->count = 0;
    p->bytes = 0;
    rc = stem && count > 1 ? open_parts(p, path, stem, count, err) : open_part(p, path, err);
    if (rc < 0)
        parts_close(p);
    return rc;
}

void parts_close(struct parts *p)
{
    while (p->count > 0)
        close(p->fds[--p->count]);
}

uint64_t parts_bytes(const char *path)
{
    struct parts p;

    if (parts_open(&p, path, NULL) < 0)
        return 0;
    parts_close(&p);
    return p.bytes;
}

/* ---- mapping ---- */

int parts_map(struct parts_map *m, const int *fds, unsigned count, struct llmos_error *err)
{
    for (m->count = 0; m->count < count; m->count++) {
        int rc = file_map(&m->maps[m->count], fds[m->count], err);

        if (rc < 0) {
            unsigned part = m->count + 1;

            parts_unmap(m);
            return count > 1 ? fail_while(err, rc, "part %u of %u", part, count) : rc;
        }
    }
    return 0;
}

void parts_unmap(struct parts_map *m)
{
    while (m->count > 0)
        file_unmap(&m->maps[--m->count]);
}
