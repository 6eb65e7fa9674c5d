/* SPDX-License-Identifier: Apache-2.0 */
/* packfile.c - see packfile.h */
#include "model/packfile.h"

#include "base/checksum.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/pieces.h"
#include "model/loaded.h"
#include "tensor/backend.h"
#include "tensor/cpu.h"
#include "tensor/packed.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MATRIX_ALIGN 4096u

struct header {
    char magic[8];
    uint32_t version, matrices;
    uint64_t file_bytes, model_bytes, checksum;
    char zeros[24];
};
_Static_assert(sizeof(struct header) == 64, "as packfile.h says");

struct row {
    char name[96];
    uint32_t type, zero;
    uint64_t inner, rows, offset;
};
_Static_assert(sizeof(struct row) == 128, "as packfile.h says");

/* --- what a model's packed file looks like --- */

/* The i-th matrix that a token meets; NULL behind the last. */
static const struct tensor **matrix_at(const llmos_model *m, size_t i)
{
    size_t layers = (size_t)m->hparams.n_layer * WEIGHT_LAYER_ROLES;

    if (i < layers)
        return &m->weights.layers[i];
    return i == layers ? (const struct tensor **)&m->weights.model[WEIGHT_OUTPUT] : NULL;
}

/* Experts lie behind each other: of whole groups of rows each, they are packed one by one and found
 * by their rows. */
static size_t rows_of(const struct tensor *t)
{
    return t->shape[1] * t->shape[2];
}

static bool is_packable(const struct tensor *t)
{
    bool is_experts = t && t->n_dims == 3 && t->shape[1] % PACKED_GROUP == 0;

    return t && (t->n_dims == 2 || is_experts) && backend_reads_packed(backend_best(), t->type) &&
           t->shape[0] > 0 && rows_of(t) > 0;
}

/* The tensor of the file that a matrix is, or is a view of. */
static const struct gguf_tensor *named(const llmos_model *m, const struct tensor *t)
{
    for (size_t i = 0; i < m->gguf.tensor_count; i++) {
        const struct gguf_tensor *whole = &m->gguf.tensors[i];
        uintptr_t begin = (uintptr_t)whole->t.data, at = (uintptr_t)t->data;

        if (whole->dtype >= 0 && at >= begin && at - begin < whole->bytes)
            return whole;
    }
    return NULL;
}

/* Header and table, which are one block of memory.  LLMOS_ELIMIT: a name that is too long. */
struct plan {
    struct header *header;
    struct row *rows;
    size_t bytes; /* of both */
};

static uint64_t align(uint64_t n)
{
    return (n + MATRIX_ALIGN - 1) / MATRIX_ALIGN * MATRIX_ALIGN;
}

static uint32_t count_matrices(const llmos_model *m)
{
    uint32_t count = 0;

    for (size_t i = 0; matrix_at(m, i); i++)
        count += is_packable(*matrix_at(m, i));
    return count;
}

static int plan_row(struct row *row, const llmos_model *m, const struct tensor *t,
                    struct llmos_error *err)
{
    const struct gguf_tensor *g = named(m, t);

    if (!g || g->name.len >= sizeof(row->name))
        return fail(err, LLMOS_ELIMIT, "a matrix of the model has no name of fewer than %zu bytes",
                    sizeof(row->name));
    memcpy(row->name, g->name.at, g->name.len);
    row->type = dtype_info(t->type)->gguf_id;
    row->inner = t->shape[0];
    row->rows = rows_of(t);
    return 0;
}

static uint64_t matrix_bytes(const struct tensor *t)
{
    return (uint64_t)packed_groups(rows_of(t)) * PACKED_GROUP * packed_form(t, NULL).row_bytes;
}

/* The result is released with mem_free(plan->header). */
static int plan_create(struct plan *plan, const llmos_model *m, struct llmos_error *err)
{
    uint32_t count = count_matrices(m);
    uint64_t at;
    int rc = 0;

    plan->bytes = sizeof(struct header) + count * sizeof(struct row);
    plan->header = mem_zalloc(1, plan->bytes);
    if (!plan->header)
        return fail(err, LLMOS_ENOMEM, "no memory for a table of %u matrices", count);
    plan->rows = (struct row *)(plan->header + 1);
    at = align(plan->bytes);
    for (size_t i = 0, k = 0; rc == 0 && matrix_at(m, i); i++) {
        const struct tensor *t = *matrix_at(m, i);

        if (!is_packable(t))
            continue;
        rc = plan_row(&plan->rows[k], m, t, err);
        plan->rows[k++].offset = at;
        at = align(at + matrix_bytes(t));
    }
    memcpy(plan->header->magic, "LLMOSPK1", 8);
    plan->header->version = PACKED_VERSION;
    plan->header->matrices = count;
    plan->header->file_bytes = at;
    plan->header->model_bytes = m->gguf.file_bytes;
    if (rc < 0)
        mem_free(plan->header);
    return rc;
}

bool packfile_helps(const llmos_model *m)
{
    return !m->vocabulary_only && backend_best()->reads_packed && count_matrices(m) > 0;
}

uint64_t packfile_bytes(const llmos_model *m)
{
    uint64_t at = align(sizeof(struct header) + count_matrices(m) * sizeof(struct row));

    for (size_t i = 0; matrix_at(m, i); i++)
        if (is_packable(*matrix_at(m, i)))
            at = align(at + matrix_bytes(*matrix_at(m, i)));
    return at;
}

/* --- writing --- */

struct writer {
    struct pieces out;
    struct checksum sum;
    struct header *header;
    packfile_progress progress;
    void *arg;
};

static int tell(const struct writer *w, uint64_t done, struct llmos_error *err)
{
    if (w->progress && w->progress(w->arg, done, w->header->file_bytes) < 0)
        return fail(err, LLMOS_ECANCELED, "packing was canceled");
    return 0;
}

static int piece_written(void *arg, const char *piece, size_t n, uint64_t at,
                         struct llmos_error *err)
{
    struct writer *w = arg;
    size_t skip = at == 0 ? sizeof(struct header) : 0;

    checksum_add(&w->sum, piece + skip, n - skip);
    return tell(w, at + n, err);
}

static int put_zeros_to(struct writer *w, uint64_t at, struct llmos_error *err)
{
    return pieces_put(&w->out, NULL, (size_t)(at - pieces_length(&w->out)), err);
}

/* group: room for sixteen rows of a strip. */
static int put_matrix(struct writer *w, const struct tensor *t, char *group,
                      struct llmos_error *err)
{
    int rc = 0;

    for (size_t first = 0; rc == 0 && first < t->shape[0]; first += PACKED_STRIP) {
        size_t bytes = packed_group_bytes(t->type, packed_columns(t->shape[0], first));

        for (size_t g = 0; rc == 0 && g < packed_groups(t->shape[1]); g++) {
            packed_write(t, first, g, g + 1, group);
            rc = pieces_put(&w->out, group, bytes, err);
        }
    }
    return rc;
}

static int put_matrices(struct writer *w, const struct tensor *t, struct llmos_error *err)
{
    size_t bytes = packed_group_bytes(t->type, packed_columns(t->shape[0], 0));
    char *group = mem_aligned(bytes);
    int rc = group ? 0 : fail(err, LLMOS_ENOMEM, "no memory for %zu bytes of weights", bytes);

    for (size_t i = 0; rc == 0 && i < t->shape[2]; i++) {
        struct tensor one = *t;

        one.data = tensor_row(t, i * t->shape[1]);
        rc = put_matrix(w, &one, group, err);
    }
    mem_free(group);
    return rc;
}

static int put_all(struct writer *w, const llmos_model *m, const struct plan *plan,
                   struct llmos_error *err)
{
    int rc = tell(w, 0, err); /* who knows of no room for all of it says so now */

    if (rc == 0)
        rc = pieces_put(&w->out, NULL, sizeof(struct header), err);
    if (rc == 0)
        rc = pieces_put(&w->out, plan->rows, plan->bytes - sizeof(struct header), err);
    for (size_t i = 0, k = 0; rc == 0 && matrix_at(m, i); i++) {
        if (!is_packable(*matrix_at(m, i)))
            continue;
        rc = put_zeros_to(w, plan->rows[k++].offset, err);
        if (rc == 0)
            rc = put_matrices(w, *matrix_at(m, i), err);
    }
    if (rc == 0)
        rc = put_zeros_to(w, plan->header->file_bytes, err);
    if (rc == 0)
        rc = pieces_end(&w->out, err);
    if (rc < 0)
        return rc;
    plan->header->checksum = checksum_end(&w->sum);
    if (file_write_at(w->out.fd, plan->header, sizeof(struct header), 0) < 0)
        return fail_errno(err, "cannot write the header");
    return 0;
}

int packfile_write(int fd, const llmos_model *m, packfile_progress progress, void *arg,
                   struct llmos_error *err)
{
    struct writer w = {.progress = progress, .arg = arg};
    struct plan plan;
    int rc;

    if (!packfile_helps(m))
        return fail(err, LLMOS_EUNSUPPORTED,
                    "this model has no weights that would be faster packed on this processor");
    rc = plan_create(&plan, m, err);
    if (rc < 0)
        return rc;
    w.header = plan.header;
    pieces_init(&w.out, fd, piece_written, &w);
    rc = put_all(&w, m, &plan, err);
    pieces_fini(&w.out);
    mem_free(plan.header);
    return rc < 0 ? fail_while(err, rc, "cannot write packed weights") : 0;
}

/* --- reading --- */

static int check(const struct file_map *map, const struct plan *plan, struct pool *pool,
                 struct llmos_error *err)
{
    struct header h, *expected = plan->header;
    struct checksum sum;

    if (map->len < sizeof(h))
        return fail(err, LLMOS_EFORMAT, "it ends after %zu bytes", map->len);
    memcpy(&h, map->at, sizeof(h));
    expected->checksum = h.checksum;
    if (memcmp(h.magic, expected->magic, sizeof(h.magic)) != 0 || h.version != expected->version)
        return fail(err, LLMOS_EFORMAT, "it is no file of packed weights of version %d",
                    PACKED_VERSION);
    if (h.model_bytes != expected->model_bytes || h.matrices != expected->matrices)
        return fail(err, LLMOS_EFORMAT, "it was made from another model");
    if (map->len != expected->file_bytes)
        return fail(err, LLMOS_EFORMAT, "it has %zu bytes, %llu are needed", map->len,
                    (unsigned long long)expected->file_bytes);
    if (memcmp(map->at, plan->header, plan->bytes) != 0)
        return fail(err, LLMOS_EFORMAT, "its table is not that of this model");
    checksum_of(&sum, (const char *)map->at + sizeof(h), map->len - sizeof(h), pool);
    if (checksum_end(&sum) != h.checksum)
        return fail(err, LLMOS_EFORMAT, "its checksum is wrong");
    return 0;
}

/* Weights that take more of the last level of cache are read from memory each time: of 480 MiB, in
 * a virtual machine, 128 were all of them read as fast as one could, and of 192 none. */
#define CACHE_SHARE 3

static void bind(llmos_model *m, const struct plan *plan, struct tensor *packed)
{
    for (size_t i = 0, k = 0; matrix_at(m, i); i++) {
        const struct tensor **at = matrix_at(m, i);

        if (!is_packable(*at))
            continue;
        packed[k] = packed_form(*at, (const char *)m->packed_map.at + plan->rows[k].offset);
        packed[k].stays_cached = plan->header->file_bytes <= cpu_cache_bytes() / CACHE_SHARE;
        *at = &packed[k++];
    }
}

/* The file is right: the model reads its matrices from there. */
static int adopt(llmos_model *m, const struct plan *plan, const struct file_map *map,
                 struct llmos_error *err)
{
    struct tensor *packed = arena_array(&m->arena, struct tensor, plan->header->matrices);

    if (!packed)
        return fail(err, LLMOS_ENOMEM, "no memory for %u matrices", plan->header->matrices);
    m->packed_map = *map;
    bind(m, plan, packed);
    return 0;
}

int packfile_use(llmos_model *m, int fd, struct pool *pool, struct llmos_error *err)
{
    struct file_map map;
    struct plan plan;
    int rc;

    if (!packfile_helps(m) || m->packed_map.at)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "packed weights do not help this model on this processor");
    rc = plan_create(&plan, m, err);
    if (rc < 0)
        return rc;
    rc = file_map(&map, fd, err);
    if (rc == 0) {
        rc = check(&map, &plan, pool, err);
        if (rc == 0)
            rc = adopt(m, &plan, &map, err);
        if (rc < 0)
            file_unmap(&map);
    }
    mem_free(plan.header);
    return rc < 0 ? fail_while(err, rc, "the file of packed weights") : 0;
}
