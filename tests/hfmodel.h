/* SPDX-License-Identifier: Apache-2.0 */
/* hfmodel.h - a model out of a Hugging Face folder, converted in memory.
 *
 * Include it after test.h. */
#ifndef TESTS_HFMODEL_H
#define TESTS_HFMODEL_H

#include "base/file.h"
#include "llmos/model.h"
#include "model/hfconvert.h"
#include "model/hffolder.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define HFMODEL_FILES 16

/* Of a folder with one file of tensors. */
static llmos_model *hfmodel_open(const char *folder, int type)
{
    const struct hfconvert_options o = {.type = type, .name = STR("tiny")};
    struct hffile files[HFMODEL_FILES];
    struct file_map maps[HFMODEL_FILES];
    int out = memfd_create("out", MFD_CLOEXEC);
    struct llmos_error err = {0};
    llmos_model *m = NULL;
    unsigned count = 0;

    for (unsigned i = 0; i == 0 || hffolder_name_at(i - 1); i++) {
        const char *name = i ? hffolder_name_at(i - 1) : HFFOLDER_ONE;
        char path[4096];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        CHECK(count < HFMODEL_FILES);
        CHECK_INT(file_map(&maps[count], fd, &err), 0);
        close(fd);
        files[count] = (struct hffile){name, {(const char *)maps[count].at, maps[count].len}};
        count++;
    }
    if (hfconvert(files, count, out, &o, &err) < 0 || llmos_model_open_fd(&m, out, &err) < 0)
        TEST_FAIL("%s", err.text);
    for (unsigned i = 0; i < count; i++)
        file_unmap(&maps[i]);
    close(out);
    return m;
}

#endif
