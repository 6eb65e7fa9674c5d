/* SPDX-License-Identifier: Apache-2.0 */
/* model.c - the public calls on a model: open, describe, close. */
#include "base/mem.h"
#include "model/clean.h"
#include "model/loaded.h"
#include "model/vocab.h"

/* The tables made beside the file's own: 1024 layers of a pointer for each role, of views of fused
 * tensors, and of 7 packed matrices. */
#define TABLES_BYTES_MAX (4 << 20)

static int load_weights(struct llmos_model *m, struct llmos_error *err)
{
    int rc = hparams_read(&m->hparams, &m->gguf, err);

    return rc < 0 ? rc : weights_bind(&m->weights, &m->gguf, &m->hparams, &m->arena, err);
}

static int load(struct llmos_model *m, const int *fds, unsigned count, struct llmos_error *err)
{
    int rc = parts_map(&m->map, fds, count, err);

    if (rc == 0)
        rc = gguf_parse_parts(&m->gguf, m->map.maps, count, err);
    if (rc == 0 && !m->vocabulary_only)
        rc = gguf_check_whole(&m->gguf, err);
    if (rc == 0 && !m->vocabulary_only)
        rc = load_weights(m, err);
    if (rc == 0)
        rc = vocab_create(&m->tokenizer, &m->gguf, err);
    return rc;
}

/* What can be said of a model that was opened for its vocabulary. */
static void name_vocabulary(struct llmos_model *m)
{
    struct str text;

    if (gguf_get_str(&m->gguf, "general.architecture", &text, NULL) > 0)
        clean_name(m->hparams.architecture, sizeof(m->hparams.architecture), text);
    if (gguf_get_str(&m->gguf, "general.name", &text, NULL) > 0)
        clean_name(m->hparams.name, sizeof(m->hparams.name), text);
    m->hparams.n_vocab = (uint32_t)llmos_token_count(m->tokenizer);
}

int model_open_parts(llmos_model **model, const int *fds, unsigned count, bool vocabulary_only,
                     struct llmos_error *err)
{
    struct llmos_model *m = mem_zalloc(1, sizeof(*m));
    int rc;

    if (!m)
        return fail(err, LLMOS_ENOMEM, "no memory for a model");
    arena_init(&m->arena, TABLES_BYTES_MAX);
    m->vocabulary_only = vocabulary_only;
    rc = load(m, fds, count, err);
    if (rc < 0) {
        llmos_model_close(m);
        return rc;
    }
    if (vocabulary_only)
        name_vocabulary(m);
    *model = m;
    return 0;
}

int llmos_model_open(llmos_model **model, const char *path, struct llmos_error *err)
{
    CLEANUP(parts) struct parts p;
    int rc = parts_open(&p, path, err);

    if (rc < 0)
        return rc;
    rc = model_open_parts(model, p.fds, p.count, false, err);
    return rc < 0 ? fail_while(err, rc, "cannot open model '%s'", path) : 0;
}

int llmos_model_open_fd(llmos_model **model, int fd, struct llmos_error *err)
{
    return model_open_parts(model, &fd, 1, false, err);
}

int llmos_model_open_vocabulary_fd(llmos_model **model, int fd, struct llmos_error *err)
{
    return model_open_parts(model, &fd, 1, true, err);
}

void llmos_model_close(llmos_model *model)
{
    if (!model)
        return;
    vocab_destroy(model->tokenizer);
    gguf_fini(&model->gguf);
    arena_fini(&model->arena);
    file_unmap(&model->packed_map);
    parts_unmap(&model->map);
    mem_free(model);
}

const llmos_tokenizer *llmos_model_tokenizer(const llmos_model *model)
{
    return model->tokenizer;
}

void llmos_model_info(const llmos_model *model, struct llmos_model_info *info)
{
    const struct hparams *h = &model->hparams;

    *info = (struct llmos_model_info){
        .architecture = h->architecture,
        .name = h->name,
        .file_type = h->file_type,
        .file_bytes = model->gguf.file_bytes,
        .parameters = h->parameter_count,
        .layers = h->n_layer,
        .width = h->n_embd,
        .heads = h->n_head,
        .heads_kv = h->n_head_kv,
        .vocabulary = h->n_vocab,
        .context_trained = h->n_ctx_train,
        .kv_bytes_per_token = hparams_kv_bytes(h),
    };
    for (size_t i = 0; i < model->gguf.tensor_count; i++)
        info->weight_bytes += model->gguf.tensors[i].bytes;
}

void llmos_free(void *p)
{
    mem_free(p);
}
