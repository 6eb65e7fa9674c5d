/* SPDX-License-Identifier: Apache-2.0 */
/* synth_model.c - writes a synthetic model file for tests:  synth_model SHAPE FILE [chatml] */
#include "model/synth.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct synth_options o;
    struct llmos_error err;
    int fd;

    if (argc < 3) {
        fprintf(stderr, "usage: synth_model SHAPE FILE [chatml]\n");
        return 2;
    }
    if (synth_shape(&o, argv[1], &err) < 0) {
        fprintf(stderr, "synth_model: %s\n", err.text);
        return 2;
    }
    o.chatml = argc > 3 && strcmp(argv[3], "chatml") == 0;
    fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || synth_write(fd, &o, &err) < 0) {
        fprintf(stderr, "synth_model: cannot write '%s'\n", argv[2]);
        return 1;
    }
    return 0;
}
