/* SPDX-License-Identifier: Apache-2.0 */
/* packfile_fuzz.c - a file of packed weights with any damage: taken only if there is none.
 *
 * The first byte chooses: even, the input itself is the file; odd, it is a list of changes to a
 * valid file, four bytes each: where (24 bits, in turn of the file's length) and what is xored
 * there; the last place is where the file ends if the byte there is 0. */
#include "base/mem.h"
#include "model/loaded.h"
#include "model/packfile.h"
#include "model/synth.h"
#include "tensor/backend.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CLAIM(claim)  \
    do {              \
        if (!(claim)) \
            abort();  \
    } while (0)

static llmos_model *model;
static char *valid;
static size_t valid_bytes;

static int memory_file(const void *bytes, size_t n)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    CLAIM(fd >= 0 && (n == 0 || pwrite(fd, bytes, n, 0) == (ssize_t)n));
    return fd;
}

static llmos_model *small_model(void)
{
    struct llmos_error err = {0};
    llmos_model *m = NULL;
    struct synth_options o;
    int fd = memory_file(NULL, 0);

    CLAIM(synth_shape(&o, "tiny", &err) == 0);
    o.type = DTYPE_Q5_0;
    o.layers = 1;
    CLAIM(synth_write(fd, &o, &err) == 0);
    CLAIM(llmos_model_open_fd(&m, fd, &err) == 0);
    close(fd);
    return m;
}

static void begin(void)
{
    struct llmos_error err = {0};
    int fd = memory_file(NULL, 0);

    model = small_model();
    if (!packfile_helps(model))
        return; /* on this processor there is nothing to read */
    CLAIM(packfile_write(fd, model, NULL, NULL, &err) == 0);
    valid_bytes = (size_t)packfile_bytes(model);
    valid = mem_alloc(valid_bytes);
    CLAIM(valid && pread(fd, valid, valid_bytes, 0) == (ssize_t)valid_bytes);
    close(fd);
}

/* The length of what is left of a valid file. */
static size_t damage(char *file, const uint8_t *data, size_t size)
{
    size_t length = valid_bytes;

    memcpy(file, valid, valid_bytes);
    for (; size >= 4; data += 4, size -= 4) {
        size_t at = ((size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % valid_bytes;

        if (data[3])
            file[at] = (char)(file[at] ^ data[3]);
        else if (size < 8)
            length = at;
    }
    return length;
}

static void try_file(const char *file, size_t n)
{
    bool is_whole = n == valid_bytes && memcmp(file, valid, n) == 0;
    struct llmos_error err = {0};
    int fd = memory_file(file, n);
    int rc = packfile_use(model, fd, NULL, &err);

    close(fd);
    CLAIM((rc == 0) == is_whole);
    if (rc < 0) {
        CLAIM(rc == LLMOS_EFORMAT && err.text[0]);
        CLAIM(!model->packed_map.at && !model->weights.model[WEIGHT_OUTPUT]->is_packed);
        return;
    }
    llmos_model_close(model);
    model = small_model();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *file;

    if (!model)
        begin();
    if (!valid || size == 0)
        return 0;
    if (data[0] % 2 == 0) {
        try_file((const char *)data + 1, size - 1);
        return 0;
    }
    file = mem_alloc(valid_bytes);
    CLAIM(file);
    try_file(file, damage(file, data + 1, size - 1));
    mem_free(file);
    return 0;
}
