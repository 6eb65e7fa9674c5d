/* SPDX-License-Identifier: Apache-2.0 */
/* split_model.c - cuts a model file into parts:  split_model WHOLE PREFIX PARTS
 *
 * The parts are PREFIX-00001-of-0000N.gguf and so on, as llama.cpp's gguf-split writes them. */
#include "splitfile.h"

#include "base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

static int write_part(const struct gguf *g, const char *prefix, unsigned i, unsigned n)
{
    struct splitfile_keys keys = splitfile_keys(g, i, n);
    char path[PATH_MAX];
    int fd, rc;

    snprintf(path, sizeof(path), "%s-%05u-of-%05u.gguf", prefix, i + 1, n);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    rc = splitfile_write(fd, g, &keys, splitfile_begin(g, i, n), splitfile_begin(g, i + 1, n));
    close(fd);
    return rc;
}

int main(int argc, char **argv)
{
    unsigned n = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    struct llmos_error err;
    struct file_map map;
    struct gguf g;
    int fd, rc = 0;

    if (n < 1) {
        fprintf(stderr, "usage: split_model WHOLE PREFIX PARTS\n");
        return 2;
    }
    fd = file_open_regular(argv[1], &err);
    if (fd < 0 || file_map(&map, fd, &err) < 0 || gguf_parse(&g, map.at, map.len, &err) < 0) {
        fprintf(stderr, "split_model: %s\n", err.text);
        return 1;
    }
    for (unsigned i = 0; rc == 0 && i < n; i++)
        rc = write_part(&g, argv[2], i, n);
    if (rc < 0)
        fprintf(stderr, "split_model: cannot write '%s-...'\n", argv[2]);
    gguf_fini(&g);
    file_unmap(&map);
    close(fd);
    return rc < 0;
}
