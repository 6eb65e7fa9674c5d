/* SPDX-License-Identifier: Apache-2.0 */
/* reference.h - models with what transformers said of them: files of tests/data that tools/ made.
 *
 * They have no tokenizer, so they are opened here and not by llmos_model_open. */
#ifndef TESTS_REFERENCE_H
#define TESTS_REFERENCE_H

#include "test.h"

#include "model/loaded.h"

#include <fcntl.h>
#include <unistd.h>

static int reference_open_model(struct llmos_model *m, int fd, struct llmos_error *err)
{
    int rc;

    memset(m, 0, sizeof(*m));
    arena_init(&m->arena, 4 << 20);
    rc = parts_map(&m->map, &fd, 1, err);
    if (rc == 0)
        rc = gguf_parse_parts(&m->gguf, m->map.maps, 1, err);
    if (rc < 0)
        return rc;
    rc = hparams_read(&m->hparams, &m->gguf, err);
    return rc < 0 ? rc : weights_bind(&m->weights, &m->gguf, &m->hparams, &m->arena, err);
}

static void reference_close_model(struct llmos_model *m)
{
    gguf_fini(&m->gguf);
    arena_fini(&m->arena);
    file_unmap(&m->packed_map);
    parts_unmap(&m->map);
}

/* folder: of tests/data */
static int reference_file(const char *folder, const char *name)
{
    const char *source = getenv("LLMOS_SOURCE");
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/tests/data/%s/%s.gguf", source ? source : ".", folder, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        TEST_FAIL("%s is missing", path);
    return fd;
}

/* "# reference llama f16 llama_yarn 5.9e-07": a line for each model, which a table of models is
 * made of. */
static inline void reference_print(const struct llmos_model *m, const char *name, double error)
{
    printf("# reference %s %s %s %.1e\n", m->hparams.architecture, m->hparams.file_type, name,
           error);
}

#endif
