/* SPDX-License-Identifier: Apache-2.0 */
/* tiny_bert.c - writes an encoder for tests:  tiny_bert embed|classify|tags|rank FILE */
#include "tinybert.h"

#include <fcntl.h>

int main(int argc, char **argv)
{
    const struct tinybert_kind *kind = argc == 3 ? tinybert_find(argv[1]) : NULL;
    struct llmos_error err = {0};
    int fd;

    if (!kind) {
        fputs("usage: tiny_bert embed|classify|tags|rank FILE\n", stderr);
        return 2;
    }
    fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || tinybert_write(fd, kind, &err) < 0) {
        fprintf(stderr, "tiny_bert: cannot write '%s': %s\n", argv[2], err.text);
        return 1;
    }
    return 0;
}
