/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - runs a fuzz target over the files of a corpus folder, one TAP line each, with any
 * compiler. */
#include "base/file.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **names = NULL;
    int count = argc == 2 ? scandir(argv[1], &names, is_visible, alphasort) : -1;

    setvbuf(stdout, NULL, _IOLBF, 0); /* a crash must not take the lines before it along */
    if (count <= 0) {
        fprintf(stderr, "usage: %s FOLDER-WITH-FILES\n", argv[0]);
        return 1;
    }
    printf("1..%d\n", count);
    for (int i = 0; i < count; i++) {
        char path[4096];
        struct buf bytes;

        buf_init(&bytes, 64 << 20);
        snprintf(path, sizeof(path), "%s/%s", argv[1], names[i]->d_name);
        if (file_read(path, &bytes, NULL) < 0)
            printf("not ok %d - %s could not be read\n", i + 1, names[i]->d_name);
        else if (LLVMFuzzerTestOneInput((const uint8_t *)buf_str(&bytes).at, bytes.len) == 0)
            printf("ok %d - %s\n", i + 1, names[i]->d_name);
        else
            printf("not ok %d - %s\n", i + 1, names[i]->d_name);
        buf_fini(&bytes);
        free(names[i]);
    }
    free(names);
    return 0;
}
