/* SPDX-License-Identifier: Apache-2.0 */
/* modelfile.h - model files for tests: synthetic ones, changed ones, and those of ../shared.
 *
 * Include it after test.h. */
#ifndef TESTS_MODELFILE_H
#define TESTS_MODELFILE_H

#include "base/file.h"
#include "base/mem.h"
#include "llmos/model.h"
#include "model/ggufwrite.h"
#include "model/synth.h"

#include <fcntl.h>
#include <sys/mman.h>

/* A few kilobytes: one layer, no byte tokens. */
#define MODELFILE_SMALL                                           \
    {                                                             \
        1, 16, 2, 1, 16, 40, 32, DTYPE_F32, 7, false, true, false \
    }

/* A file without a name.  The caller closes it. */
static inline int modelfile_fd(const void *bytes, size_t n)
{
    int fd = memfd_create("model", MFD_CLOEXEC);

    CHECK(fd >= 0);
    CHECK(file_write_all(fd, bytes, n) == 0);
    return fd;
}

static inline int modelfile_synth(const struct synth_options *o)
{
    struct llmos_error err = {0};
    int fd = memfd_create("model", MFD_CLOEXEC);

    CHECK(fd >= 0);
    if (synth_write(fd, o, &err) < 0)
        TEST_FAIL("%s", err.text);
    return fd;
}

/* What stands in the file, on the heap: reads past its end are noticed.  Closes fd. */
static inline unsigned char *modelfile_bytes(int fd, size_t *n)
{
    off_t end = lseek(fd, 0, SEEK_END);
    unsigned char *bytes = malloc(end > 0 ? (size_t)end : 1);

    CHECK(bytes && end >= 0 && pread(fd, bytes, (size_t)end, 0) == end);
    close(fd);
    *n = (size_t)end;
    return bytes;
}

/* A model made of these bytes; NULL and err if it is refused. */
static inline llmos_model *modelfile_open(const void *bytes, size_t n, struct llmos_error *err)
{
    llmos_model *m = NULL;
    int fd = modelfile_fd(bytes, n);
    int rc = llmos_model_open_fd(&m, fd, err);

    close(fd);
    CHECK((rc == 0) == (m != NULL));
    return m;
}

static inline llmos_model *modelfile_open_synth(const struct synth_options *o)
{
    struct llmos_error err = {0};
    int fd = modelfile_synth(o);
    llmos_model *m = NULL;

    if (llmos_model_open_fd(&m, fd, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    return m;
}

/* The path of a file of ../shared; skips the test where there is none. */
static inline const char *modelfile_shared(const char *name)
{
    static char path[4096];
    const char *folder = getenv("LLMOS_SHARED"), *source = getenv("LLMOS_SOURCE");

    if (folder)
        snprintf(path, sizeof(path), "%s/models/%s", folder, name);
    else
        snprintf(path, sizeof(path), "%s/../shared/models/%s", source ? source : ".", name);
    if (access(path, R_OK) != 0)
        SKIP("the models of ../shared are not here");
    return path;
}

/* Only the tokenizer of a file of ../shared. */
static inline llmos_model *modelfile_open_vocabulary(const char *name)
{
    struct llmos_error err = {0};
    llmos_model *m = NULL;
    int fd = open(modelfile_shared(name), O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0);
    if (llmos_model_open_vocabulary_fd(&m, fd, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    return m;
}

#endif
