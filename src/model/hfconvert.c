/* SPDX-License-Identifier: Apache-2.0 */
/* hfconvert.c - see hfconvert.h */
#include "model/hfconvert.h"

#include "model/hftokens.h"

bool hfconvert_type(const char *name, int *type)
{
    static const struct {
        const char *name;
        int type;
    } known[] = {{"auto", HFTENSORS_AUTO},
                 {"f32", DTYPE_F32},
                 {"f16", DTYPE_F16},
                 {"bf16", DTYPE_BF16},
                 {"q8_0", DTYPE_Q8_0}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(name, known[i].name) == 0) {
            *type = known[i].type;
            return true;
        }
    return false;
}

static int write_all(struct ggufwrite *w, const struct hftensors *tensors,
                     const struct hftokens *tokens, const struct hfconvert_options *o,
                     struct llmos_error *err)
{
    int rc = hfmeta_put(w, tensors->folder, tensors->meta, o->name, tensors->file_type, err);

    if (rc < 0)
        return rc;
    hftokens_put(w, tokens);
    hftensors_declare(tensors, w);
    rc = ggufwrite_begin(w, err);
    if (rc == 0)
        rc = hftensors_write(tensors, w, o->progress, o->arg, err);
    return rc == 0 ? ggufwrite_end(w, err) : rc;
}

static int convert_folder(const struct hffolder *f, int fd, const struct hfconvert_options *o,
                          struct llmos_error *err)
{
    struct hftensors tensors;
    struct hftokens tokens;
    struct ggufwrite w;
    struct hfmeta meta;
    int rc = hfmeta_read(&meta, f, err);

    if (rc == 0)
        rc = hftensors_plan(&tensors, f, &meta, o->type, err);
    if (rc < 0)
        return rc;
    rc = hftokens_read(&tokens, f, tensors.vocab, err);
    if (rc == 0) {
        ggufwrite_init(&w, fd);
        rc = write_all(&w, &tensors, &tokens, o, err);
        ggufwrite_fini(&w);
        hftokens_fini(&tokens);
    }
    hftensors_fini(&tensors);
    return rc;
}

int hfconvert(const struct hffile *files, unsigned count, int fd,
              const struct hfconvert_options *options, struct llmos_error *err)
{
    struct hffolder f;
    int rc = hffolder_read(&f, files, count, err);

    if (rc < 0)
        return rc;
    rc = convert_folder(&f, fd, options, err);
    hffolder_fini(&f);
    return rc;
}
