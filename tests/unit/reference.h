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

/* Weights of f16 become f32, as the judge had them: kernels may round those of f16 (fixed.h). */
static int reference_widen(struct llmos_model *m)
{
    for (size_t i = 0; i < m->gguf.tensor_count; i++) {
        struct gguf_tensor *g = &m->gguf.tensors[i];
        size_t n = g->t.shape[0] * g->t.shape[1] * g->t.shape[2] * g->t.shape[3];
        float *wide;

        if (g->dtype != DTYPE_F16)
            continue;
        wide = arena_array(&m->arena, float, n);
        if (!wide)
            return LLMOS_ENOMEM;
        dtype_info(DTYPE_F16)->to_f32(g->t.data, wide, n);
        g->t.data = wide;
        g->t.row_bytes *= 2;
        g->bytes *= 2;
        g->type_id = 0;
        g->t.type = DTYPE_F32;
        g->dtype = DTYPE_F32;
    }
    return 0;
}

static int reference_open_model(struct llmos_model *m, int fd, bool widens, struct llmos_error *err)
{
    int rc;

    memset(m, 0, sizeof(*m));
    arena_init(&m->arena, 4 << 20);
    rc = parts_map(&m->map, &fd, 1, err);
    if (rc == 0)
        rc = gguf_parse_parts(&m->gguf, m->map.maps, 1, err);
    if (rc == 0 && widens)
        rc = reference_widen(m);
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
