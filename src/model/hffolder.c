/* SPDX-License-Identifier: Apache-2.0 */
/* hffolder.c - see hffolder.h */
#include "model/hffolder.h"

#include "base/mem.h"
#include "model/sortindex.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const names[] = {
    HFFOLDER_CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "sentencepiece.bpe.model",
    "added_tokens.json",
    HFFOLDER_INDEX,
    "1_Pooling/config.json",
};

const char *hffolder_name_at(unsigned i)
{
    return i < sizeof(names) / sizeof(names[0]) ? names[i] : NULL;
}

bool hffolder_is_shard(struct str name)
{
    static const char ending[] = ".safetensors";
    size_t n = sizeof(ending) - 1;

    if (name.len <= n || name.len > HFFOLDER_NAME_MAX || name.at[0] == '.' ||
        memcmp(name.at + name.len - n, ending, n) != 0)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.at[i] <= ' ' || name.at[i] == '/' || name.at[i] == '\\' ||
            name.at[i] == 0x7f)
            return false;
    return true;
}

struct str hffolder_file(const struct hffolder *f, const char *name)
{
    for (unsigned i = 0; i < f->file_count; i++)
        if (strcmp(f->files[i].name, name) == 0)
            return f->files[i].bytes;
    return (struct str){NULL, 0};
}

/* ---- the index of shards ---- */

static int add_shard(struct jdoc_ref value, struct str *shards, int count, struct llmos_error *err)
{
    struct str name = jdoc_text(value);

    if (!hffolder_is_shard(name))
        return fail(err, LLMOS_EFORMAT,
                    "'%s' names '%.*s', which is no .safetensors file of this folder",
                    HFFOLDER_INDEX, (int)(name.len < 100 ? name.len : 100), name.at ? name.at : "");
    for (int i = count; i-- > 0;)
        if (str_eq(shards[i], name))
            return count;
    if (count == HFFOLDER_SHARDS_MAX)
        return fail(err, LLMOS_ELIMIT, "'%s' names more than %d files", HFFOLDER_INDEX,
                    HFFOLDER_SHARDS_MAX);
    shards[count] = name;
    return count + 1;
}

int hffolder_shards(struct str index, struct arena *arena, struct str *shards,
                    struct llmos_error *err)
{
    struct jsondoc doc;
    struct jdoc_ref map;
    int rc = jsondoc_parse(&doc, arena, index, HFFOLDER_INDEX, err);
    int count = 0;

    if (rc < 0)
        return rc;
    map = jdoc_get(jdoc_root(&doc), "weight_map");
    if (!jdoc_is(map, JDOC_OBJECT) || jdoc_count(map) == 0)
        return fail(err, LLMOS_EFORMAT, "'%s' has no 'weight_map' with tensors", HFFOLDER_INDEX);
    for (struct jdoc_ref v = jdoc_first(map, NULL); jdoc_at(v) && count >= 0;
         v = jdoc_next(map, v, NULL))
        count = add_shard(v, shards, count, err);
    return count;
}

/* ---- tensors ---- */

static bool tensor_before(const void *table, uint32_t a, uint32_t b)
{
    struct safetensors_tensor *const *t = table;

    return str_before(t[a]->name, t[b]->name);
}

static int sort_tensors(struct hffolder *f, struct safetensors_tensor **unsorted,
                        struct llmos_error *err)
{
    CLEANUP(free) uint32_t *order = mem_alloc(f->tensor_count * sizeof(*order) + 1);

    if (!order)
        return fail(err, LLMOS_ENOMEM, "no memory for %" PRIu32 " tensors", f->tensor_count);
    for (uint32_t i = 0; i < f->tensor_count; i++)
        order[i] = i;
    sortindex(order, f->tensor_count, tensor_before, unsorted);
    for (uint32_t i = 0; i < f->tensor_count; i++) {
        f->tensors[i] = unsorted[order[i]];
        if (i > 0 && str_eq(f->tensors[i - 1]->name, f->tensors[i]->name))
            return fail(err, LLMOS_EFORMAT, "tensor '%.*s' stands in two files",
                        STR_ARG(f->tensors[i]->name));
    }
    return 0;
}

static int gather(struct hffolder *f, const struct safetensors *shards, unsigned count,
                  struct llmos_error *err)
{
    CLEANUP(free) struct safetensors_tensor **unsorted = NULL;
    uint32_t n = 0;

    for (unsigned i = 0; i < count; i++)
        f->tensor_count += shards[i].count;
    f->tensors = arena_array(&f->arena, struct safetensors_tensor *, f->tensor_count);
    unsorted = mem_zalloc(f->tensor_count, sizeof(struct safetensors_tensor *));
    if (!f->tensors || !unsorted)
        return fail(err, LLMOS_ENOMEM, "no memory for %" PRIu32 " tensors", f->tensor_count);
    for (unsigned i = 0; i < count; i++)
        for (uint32_t j = 0; j < shards[i].count; j++)
            unsorted[n++] = &shards[i].tensors[j];
    return sort_tensors(f, unsorted, err);
}

uint32_t hffolder_find(const struct hffolder *f, const char *name)
{
    struct str wanted = str_of(name);
    uint32_t low = 0, high = f->tensor_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (str_before(f->tensors[middle]->name, wanted))
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->tensor_count && str_eq(f->tensors[low]->name, wanted) ? low : UINT32_MAX;
}

/* Every tensor of the index must be in a shard, so that a shard that was left out is noticed. */
static int check_index(struct hffolder *f, struct llmos_error *err)
{
    struct str index = hffolder_file(f, HFFOLDER_INDEX), key;
    struct jsondoc doc;
    struct jdoc_ref map;
    int rc;

    if (!index.at || hffolder_file(f, HFFOLDER_ONE).at)
        return 0;
    rc = jsondoc_parse(&doc, &f->arena, index, HFFOLDER_INDEX, err);
    if (rc < 0)
        return rc;
    map = jdoc_get(jdoc_root(&doc), "weight_map");
    for (struct jdoc_ref v = jdoc_first(map, &key); jdoc_at(v); v = jdoc_next(map, v, &key)) {
        char name[512];

        if (snprintf(name, sizeof(name), "%.*s", STR_ARG(key)) < (int)sizeof(name) &&
            hffolder_find(f, name) != UINT32_MAX)
            continue;
        return fail(err, LLMOS_EFORMAT,
                    "tensor '%.*s' should be in '%.*s', as '%s' says, but no file has it",
                    (int)(key.len < 100 ? key.len : 100), key.at, STR_ARG(jdoc_text(v)),
                    HFFOLDER_INDEX);
    }
    return 0;
}

static int read_shards(struct hffolder *f, struct llmos_error *err)
{
    struct safetensors *shards = arena_array(&f->arena, struct safetensors, f->file_count);
    unsigned count = 0;
    int rc;

    if (!shards)
        return fail(err, LLMOS_ENOMEM, "no memory for the shards");
    for (unsigned i = 0; i < f->file_count; i++) {
        if (!hffolder_is_shard(str_of(f->files[i].name)))
            continue;
        rc = safetensors_parse(&shards[count++], &f->arena, f->files[i].bytes, f->files[i].name,
                               err);
        if (rc < 0)
            return rc;
    }
    rc = gather(f, shards, count, err);
    if (rc == 0 && count == 0)
        return fail(err, LLMOS_EFORMAT, "the folder has no tensors: it lacks '%s'", HFFOLDER_ONE);
    if (rc == 0 && f->tensor_count == 0)
        return fail(err, LLMOS_EFORMAT, "the folder's safetensors files have no tensors");
    return rc == 0 ? check_index(f, err) : rc;
}

/* ---- configuration ---- */

static int read_json(struct hffolder *f, struct jsondoc *doc, const char *name,
                     struct llmos_error *err)
{
    struct str text = hffolder_file(f, name);

    return text.at ? jsondoc_parse(doc, &f->arena, text, name, err) : 0;
}

static struct jdoc_ref find_value(struct jdoc_ref object, const char *paths)
{
    while (*paths) {
        size_t n = strcspn(paths, "|");
        char path[128];
        struct jdoc_ref v;

        snprintf(path, sizeof(path), "%.*s", (int)n, paths);
        v = jdoc_path(object, path);
        if (jdoc_is_there(v))
            return v;
        paths += n + (paths[n] == '|');
    }
    return JDOC_ABSENT;
}

struct jdoc_ref hffolder_config(const struct hffolder *f, const char *paths)
{
    struct jdoc_ref root = jdoc_root(&f->config);
    struct jdoc_ref v = find_value(jdoc_get(root, "text_config"), paths);

    return jdoc_at(v) ? v : find_value(root, paths);
}

int hffolder_u32(const struct hffolder *f, const char *paths, uint32_t min, uint32_t max,
                 uint32_t *out, struct llmos_error *err)
{
    struct jdoc_ref v = hffolder_config(f, paths);
    int64_t n;

    if (!jdoc_at(v))
        return 0;
    if (!jdoc_integer(v, &n) || n < min || n > max)
        return fail(err, LLMOS_EFORMAT,
                    "'%.*s' in '%s' is %s, a whole number from %" PRIu32 " to %" PRIu32
                    " is needed",
                    (int)strcspn(paths, "|"), paths, HFFOLDER_CONFIG,
                    jdoc_is(v, JDOC_INTEGER) ? "out of range" : jdoc_type_name(v), min, max);
    *out = (uint32_t)n;
    return 1;
}

static int list_known(struct str given, struct llmos_error *err)
{
    char list[200];
    size_t n = 0;

    for (unsigned i = 0; hfarch_at(i) && n < sizeof(list) - 24; i++) {
        const char *name = hfarch_at(i)->gguf;

        if (i == 0 || strcmp(name, hfarch_at(i - 1)->gguf) != 0)
            n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? " " : "", name);
    }
    return fail(err, LLMOS_EUNSUPPORTED,
                "architecture '%.*s' is not known; this version converts those that become: %s",
                (int)(given.len < 60 ? given.len : 60), given.at, list);
}

static int find_arch(struct hffolder *f, struct llmos_error *err)
{
    struct jdoc_ref list = jdoc_get(jdoc_root(&f->config), "architectures");
    struct str name = jdoc_text(jdoc_first(list, NULL));

    if (!name.at)
        return fail(err, LLMOS_EFORMAT, "'%s' has no 'architectures' with a name", HFFOLDER_CONFIG);
    f->arch = hfarch_find(name);
    if (!f->arch && str_ends(name, STR("ForMaskedLM")))
        return fail(err, LLMOS_EUNSUPPORTED,
                    "'%.*s' guesses words that are hidden, which this version cannot compute; it "
                    "reads encoders that were trained further, to embed or to classify",
                    (int)(name.len < 60 ? name.len : 60), name.at);
    return f->arch ? 0 : list_known(name, err);
}

static int read_all(struct hffolder *f, struct llmos_error *err)
{
    int rc;

    if (!hffolder_file(f, HFFOLDER_CONFIG).at)
        return fail(err, LLMOS_EFORMAT, "the folder lacks '%s'", HFFOLDER_CONFIG);
    rc = read_json(f, &f->config, HFFOLDER_CONFIG, err);
    if (rc == 0)
        rc = read_json(f, &f->generation, "generation_config.json", err);
    if (rc == 0)
        rc = read_json(f, &f->tokenizer_config, "tokenizer_config.json", err);
    if (rc == 0)
        rc = read_json(f, &f->pooling, "1_Pooling/config.json", err);
    if (rc == 0)
        rc = find_arch(f, err);
    return rc == 0 ? read_shards(f, err) : rc;
}

int hffolder_read(struct hffolder *f, const struct hffile *files, unsigned count,
                  struct llmos_error *err)
{
    size_t parsed = 0;
    int rc;

    *f = (struct hffolder){.files = files, .file_count = count};
    for (unsigned i = 0; i < count; i++) {
        size_t n = files[i].bytes.len;

        /* Of a shard only the header: it says how long it is, and 8 bytes are the least value. */
        if (hffolder_is_shard(str_of(files[i].name)) && n > SAFETENSORS_HEADER_MAX)
            n = SAFETENSORS_HEADER_MAX;
        parsed += n < JSONDOC_BYTES_MAX ? n : JSONDOC_BYTES_MAX;
    }
    arena_init(&f->arena, 24 * parsed + (1u << 20));
    rc = read_all(f, err);
    if (rc < 0)
        hffolder_fini(f);
    return rc;
}

void hffolder_fini(struct hffolder *f)
{
    arena_fini(&f->arena);
}
