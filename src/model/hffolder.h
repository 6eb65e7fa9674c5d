/* SPDX-License-Identifier: Apache-2.0 */
/* hffolder.h - the files of a Hugging Face folder, read: configuration and tensors by name.
 *
 * Nothing is opened here: the caller brings the files' bytes, which must outlive the struct, under
 * the names that hffolder_name_at lists, and shards (hffolder_is_shard).  hffolder_read parses all
 * of them but the tokenizer, and finds the architecture.  Read-only afterwards: any thread. */
#ifndef MODEL_HFFOLDER_H
#define MODEL_HFFOLDER_H

#include "model/hfarch.h"
#include "model/jsondoc.h"
#include "model/safetensors.h"

#define HFFOLDER_SHARDS_MAX 128 /* 5 GB each as a rule: 640 GB */
#define HFFOLDER_FILES_MAX  (HFFOLDER_SHARDS_MAX + 16)
#define HFFOLDER_NAME_MAX   255

struct hffile {
    const char *name;
    struct str bytes;
};

struct hffolder {
    const struct hffile *files;
    unsigned file_count;
    struct jsondoc config, generation, tokenizer_config, pooling;
    const struct hfarch *arch;
    struct safetensors_tensor **tensors; /* of all shards, sorted by name */
    uint32_t tensor_count;
    struct arena arena; /* limited in proportion to the files that are parsed */
};

/* Files that are of use if they are there; NULL behind the last one.  Shards are not among them. */
const char *hffolder_name_at(unsigned i);
#define HFFOLDER_CONFIG "config.json"
#define HFFOLDER_ONE    "model.safetensors"
#define HFFOLDER_INDEX  "model.safetensors.index.json"

/* A plain name of a file beside the others: "model-00001-of-00003.safetensors". */
bool hffolder_is_shard(struct str name);

/* The shards that the text of an index names, each once, for arena memory; the number of them. */
int hffolder_shards(struct str index, struct arena *arena, struct str *shards,
                    struct llmos_error *err);

/* On failure nothing is left to free. */
int hffolder_read(struct hffolder *f, const struct hffile *files, unsigned count,
                  struct llmos_error *err);
void hffolder_fini(struct hffolder *f);

/* The bytes; `at` NULL: there is no such file. */
struct str hffolder_file(const struct hffolder *f, const char *name);
/* The number of a tensor, UINT32_MAX: absent. */
uint32_t hffolder_find(const struct hffolder *f, const char *name);
/* A value of config.json by paths divided by '|': "rope_theta|rope_parameters.rope_theta".  In a
 * model that sees, what its text part says ("text_config") comes first. */
struct jdoc_ref hffolder_config(const struct hffolder *f, const char *paths);
/* A number of config.json: absent 0, present 1, not a whole number within [min, max]:
 * LLMOS_EFORMAT. */
int hffolder_u32(const struct hffolder *f, const char *paths, uint32_t min, uint32_t max,
                 uint32_t *out, struct llmos_error *err);

#endif
