/* SPDX-License-Identifier: Apache-2.0 */
/* synth_model.c - writes a synthetic model file for tests:  synth_model SHAPE FILE
 * [chatml|TEMPLATE] TEMPLATE: a file with a chat template. */
#include "base/file.h"
#include "model/synth.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Just large enough that it is worth laying out for the processor: 40 MiB. */
static bool packable(struct synth_options *o, const char *name)
{
    if (strcmp(name, "packable") != 0 || synth_shape(o, "tiny", NULL) < 0)
        return false;
    o->layers = 2;
    o->width = 512;
    o->heads = o->heads_kv = 8;
    o->hidden = 1024;
    o->vocabulary = 32000;
    o->type = DTYPE_Q8_0;
    o->tied_output = false;
    return true;
}

int main(int argc, char **argv)
{
    struct buf template = {.limit_bytes = 1 << 20};
    struct synth_options o;
    struct llmos_error err;
    int fd;

    if (argc < 3) {
        fprintf(stderr, "usage: synth_model SHAPE|packable FILE [chatml|TEMPLATE]\n");
        return 2;
    }
    if (!packable(&o, argv[1]) && synth_shape(&o, argv[1], &err) < 0) {
        fprintf(stderr, "synth_model: %s\n", err.text);
        return 2;
    }
    o.chatml = argc > 3;
    if (argc > 3 && strcmp(argv[3], "chatml") != 0) {
        if (file_read(argv[3], &template, &err) < 0) {
            fprintf(stderr, "synth_model: %s\n", err.text);
            return 2;
        }
        o.chat_template = template.at;
    }
    fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || synth_write(fd, &o, &err) < 0) {
        fprintf(stderr, "synth_model: cannot write '%s'\n", argv[2]);
        return 1;
    }
    return 0;
}
