/* SPDX-License-Identifier: Apache-2.0 */
/* hftensors.c - see hftensors.h
 *
 * Every transformation is a view: row r of part e of what is written lies in a source at `at` and
 * goes on in steps of `step` values.  A part is an expert; what has none has one part. */
#include "model/hftensors.h"

#include "model/hfsource.h"
#include "model/hparams.h"
#include "model/sortindex.h"
#include "model/weights.h"

#include <inttypes.h>
#include <stdio.h>

#define NAME_MAX_BYTES 96
#define EXPERTS_MAX    1024
#define CHUNK          2048 /* values; a multiple of every block that we write */

struct hftensors_item {
    char name[NAME_MAX_BYTES];
    const struct hfsource **sources; /* one, or one for each expert */
    uint32_t source_count;
    const float *factors; /* instead of sources: values that stood in config.json */
    enum hftensor_how how;
    enum dtype type;
    int blocks; /* the type whose blocks say what the sources say, or -1 */
    bool adds_one;
    uint64_t parts, rows, columns;
    uint64_t skipped; /* rows in front */
    unsigned n_dims;
    uint64_t shape[TENSOR_DIMS_MAX]; /* the fastest first, as GGUF has it */
};

struct planning {
    struct hftensors *t;
    struct hfsources sources;
    int type;
    uint32_t room;
    uint64_t most; /* bytes of the largest matrix, whose type the file is called by */
    struct llmos_error *err;
};

/* ---- names ---- */

struct match {
    uint32_t layer, expert;
};

static bool take_number(struct str *s, uint32_t *out)
{
    uint32_t n = 0;
    size_t i = 0;

    while (i < s->len && i < 5 && s->at[i] >= '0' && s->at[i] <= '9')
        n = n * 10 + (uint32_t)(s->at[i++] - '0');
    if (i == 0 || i == 5 || (i > 1 && s->at[0] == '0'))
        return false;
    *out = n;
    *s = (struct str){s->at + i, s->len - i};
    return true;
}

static bool matches(const char *pattern, struct str name, struct match *m)
{
    *m = (struct match){0, 0};
    while (*pattern && *pattern != '*') {
        if (strncmp(pattern, "{}", 2) == 0 || strncmp(pattern, "{x}", 3) == 0) {
            bool is_expert = pattern[1] == 'x';

            if (!take_number(&name, is_expert ? &m->expert : &m->layer))
                return false;
            pattern += is_expert ? 3 : 2;
            continue;
        }
        if (name.len == 0 || name.at[0] != *pattern)
            return false;
        name = (struct str){name.at + 1, name.len - 1};
        pattern++;
    }
    return *pattern == '*' || name.len == 0;
}

static void write_name(char *out, size_t size, const char *pattern, struct match m,
                       const char *suffix)
{
    size_t n = 0;

    while (*pattern && n + 8 < size) {
        bool is_expert = strncmp(pattern, "{x}", 3) == 0;

        if (is_expert || strncmp(pattern, "{}", 2) == 0) {
            n += (size_t)snprintf(out + n, size - n, "%" PRIu32, is_expert ? m.expert : m.layer);
            pattern += is_expert ? 3 : 2;
        } else {
            out[n++] = *pattern++;
        }
    }
    snprintf(out + n, size - n, "%s", suffix);
}

/* The first of the prefixes that the name has, which is cut off; empty: it has none. */
static struct str cut_prefix(const char *prefixes, struct str *name)
{
    while (*prefixes) {
        struct str prefix = {prefixes, strcspn(prefixes, "|")};

        if (str_starts(*name, prefix)) {
            *name = (struct str){name->at + prefix.len, name->len - prefix.len};
            return prefix;
        }
        prefixes += prefix.len + (prefixes[prefix.len] == '|');
    }
    return STR("");
}

/* What stands behind the name that a rule knows; it is cut off. */
static const char *cut_suffix(struct str *name)
{
    static const char *const suffixes[] = {".weight", ".bias"};

    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(suffixes[i]);

        if (name->len > n && memcmp(name->at + name->len - n, suffixes[i], n) == 0) {
            name->len -= n;
            return suffixes[i];
        }
    }
    return "";
}

static int misfit(struct planning *p, const struct hfsource *s, const char *why)
{
    return fail(p->err, LLMOS_EFORMAT, "tensor '%.*s' %s", STR_ARG(s->name), why);
}

/* ---- shapes ---- */

/* The dimensions of the source without those of 1, which say nothing. */
static unsigned squeeze(const struct hfsource *s, uint64_t shape[SAFETENSORS_DIMS_MAX])
{
    unsigned n = 0;

    for (unsigned d = 0; d < s->n_dims; d++)
        if (s->shape[d] != 1)
            shape[n++] = s->shape[d];
    if (n == 0)
        shape[n++] = 1;
    return n;
}

/* Parts, rows and columns as they are written, and from them the shape. */
static int shape_plain(struct planning *p, struct hftensors_item *it, const struct hfsource *s,
                       const uint64_t *shape, unsigned n)
{
    it->parts = 1;
    it->columns = shape[n - 1];
    it->rows = s->values / it->columns;
    if (n > TENSOR_DIMS_MAX)
        return misfit(p, s, "has more than 4 dimensions");
    it->n_dims = n;
    for (unsigned d = 0; d < n; d++)
        it->shape[d] = shape[n - 1 - d];
    return 0;
}

static void shape_matrix(struct hftensors_item *it, uint64_t parts, uint64_t rows, uint64_t columns)
{
    it->parts = parts;
    it->rows = rows;
    it->columns = columns;
    it->n_dims = parts > 1 ? 3 : rows > 1 ? 2 : 1;
    it->shape[0] = columns;
    it->shape[1] = rows;
    it->shape[2] = parts;
}

static int shape_permuted(struct planning *p, struct hftensors_item *it, const struct hfsource *s,
                          const uint64_t *shape, unsigned n)
{
    uint64_t heads = it->how == HFTENSOR_PERMUTE_Q ? p->t->meta->heads : p->t->meta->heads_kv;

    if (n > 2 || shape[0] % (2 * heads) != 0)
        return misfit(p, s, "has rows that cannot be divided among the heads of 'config.json'");
    it->parts = 1;
    it->rows = shape[0];
    it->columns = n == 2 ? shape[1] : 1;
    it->n_dims = n;
    it->shape[0] = n == 2 ? it->columns : it->rows;
    it->shape[1] = it->rows;
    return 0;
}

static int shape_halved(struct planning *p, struct hftensors_item *it, const struct hfsource *s)
{
    uint64_t last = s->n_dims ? s->shape[s->n_dims - 1] : 0;

    if (s->n_dims < 2 || s->n_dims > 3 || last % 2 != 0)
        return misfit(p, s, "is no gate and up of experts: its last side is odd or missing");
    if (s->n_dims == 3) {
        shape_matrix(it, s->shape[0], last / 2, s->shape[1]);
        return 0;
    }
    shape_matrix(it, 1, s->shape[0], last / 2);
    return 0;
}

static int shape_packed(struct planning *p, struct hftensors_item *it, const struct hfsource *s)
{
    bool is_half = it->how != HFTENSOR_MXFP4;

    if (!s->quant)
        return misfit(p, s, "is not of blocks of 16 bytes");
    if (is_half && s->shape[1] % 2 != 0)
        return misfit(p, s, "is no gate and up of experts: its rows are odd");
    shape_matrix(it, s->shape[0], s->shape[1] >> is_half, s->shape[2]);
    it->n_dims = 3;
    return 0;
}

/* A quantised matrix is one of rows, as its layer multiplies with it: Conv1D, too. */
static int check_quantised(struct planning *p, struct hftensors_item *it, const struct hfsource *s)
{
    if (it->how == HFTENSOR_TRANSPOSE)
        it->how = HFTENSOR_AS_IS;
    if (it->how == HFTENSOR_EACH_TRANSPOSE || it->how == HFTENSOR_EVEN_ROWS ||
        it->how == HFTENSOR_ODD_ROWS)
        return misfit(p, s, "is quantised, and experts that lie together are not read so");
    if (s->quant->is_transposed && str_ends(str_of(it->name), STR("_embd.weight")))
        return misfit(p, s, "is a quantised table of tokens, which lies as no matrix does");
    return 0;
}

static int shape_item(struct planning *p, struct hftensors_item *it)
{
    const struct hfsource *s = it->sources[0];
    uint64_t shape[SAFETENSORS_DIMS_MAX];
    unsigned n = squeeze(s, shape);

    if (s->values == 0)
        return misfit(p, s, "has no values");
    if (s->quant && check_quantised(p, it, s) < 0)
        return p->err->code;
    switch (it->how) {
    case HFTENSOR_PERMUTE_Q:
    case HFTENSOR_PERMUTE_K:
        return shape_permuted(p, it, s, shape, n);
    case HFTENSOR_EVEN_ROWS:
    case HFTENSOR_ODD_ROWS:
        return shape_halved(p, it, s);
    case HFTENSOR_MXFP4:
    case HFTENSOR_MXFP4_EVEN:
    case HFTENSOR_MXFP4_ODD:
        return shape_packed(p, it, s);
    case HFTENSOR_EACH_TRANSPOSE:
        if (s->n_dims != 3)
            return misfit(p, s, "has not 3 dimensions");
        shape_matrix(it, s->shape[0], s->shape[2], s->shape[1]);
        return 0;
    case HFTENSOR_TRANSPOSE:
        if (n == 2) {
            shape_matrix(it, 1, shape[1], shape[0]);
            return 0;
        }
        break;
    case HFTENSOR_STACK:
        if (n > 2)
            return misfit(p, s, "is an expert with more than 2 dimensions");
        shape_matrix(it, it->source_count, n == 2 ? shape[0] : 1, shape[n - 1]);
        it->n_dims = 3;
        return 0;
    case HFTENSOR_CUT_PADS:
        it->skipped = p->t->meta->position_offset;
        if (n != 2 || shape[0] <= it->skipped)
            return misfit(p, s, "has no rows behind those of padding");
        shape_matrix(it, 1, shape[0] - it->skipped, shape[1]);
        it->n_dims = 2;
        return 0;
    default:
        break;
    }
    return shape_plain(p, it, s, shape, n);
}

/* ---- types ---- */

/* Of all experts, if they have one in common. */
static int block_dtype(const struct hftensors_item *it)
{
    int type = hfquant_block_type(it->sources[0]->quant);

    for (uint32_t i = 1; i < it->source_count; i++) {
        int other = hfquant_block_type(it->sources[i]->quant);

        if (other != type)
            type = (other == DTYPE_Q4_0 || other == DTYPE_Q4_1) &&
                           (type == DTYPE_Q4_0 || type == DTYPE_Q4_1)
                       ? DTYPE_Q4_1
                       : -1;
    }
    return type;
}

static int source_dtype(struct planning *p, const struct hftensors_item *it)
{
    const struct hfsource *s = it->sources[0];
    int type = it->blocks;

    if (type >= 0)
        return type;
    switch (s->tensor->type) {
    case SAFETENSORS_F64:
    case SAFETENSORS_F32:
        return DTYPE_F32;
    case SAFETENSORS_F16:
        return DTYPE_F16;
    case SAFETENSORS_BF16:
        return DTYPE_BF16;
    case SAFETENSORS_F8_E4M3: /* its scales may leave the range of f16 */
        return DTYPE_BF16;
    default:
        if (s->quant)
            return DTYPE_F16;
        return fail(p->err, LLMOS_EUNSUPPORTED,
                    "tensor '%.*s' has type %s, which holds no weights without a scale beside it; "
                    "this version converts F64 F32 F16 BF16: take the folder of the model before "
                    "it was quantised",
                    STR_ARG(s->name), safetensors_type_name(s->tensor->type));
    }
}

/* What a few numbers or a router would gain in size they would lose in quality. */
static bool is_always_f32(const struct hftensors_item *it)
{
    return it->n_dims <= 1 || !str_ends(str_of(it->name), STR(".weight")) ||
           str_ends(str_of(it->name), STR("_norm.weight")) ||
           str_ends(str_of(it->name), STR(".ffn_gate_inp.weight")) ||
           strcmp(it->name, "position_embd.weight") == 0 ||
           strcmp(it->name, "token_types.weight") == 0;
}

/* Experts of one stack are all of one kind. */
static int check_alike(struct planning *p, const struct hftensors_item *it)
{
    const struct hfsource *a = it->sources[0];

    for (uint32_t i = 1; i < it->source_count; i++) {
        const struct hfsource *b = it->sources[i];

        if (b->tensor->type != a->tensor->type || !b->quant != !a->quant ||
            b->n_dims != a->n_dims ||
            memcmp(b->shape, a->shape, a->n_dims * sizeof(a->shape[0])) != 0)
            return misfit(p, b, "differs in type or size from that of expert 0");
    }
    return 0;
}

static int type_item(struct planning *p, struct hftensors_item *it)
{
    int rc = check_alike(p, it), own, type;

    if (rc < 0)
        return rc;
    it->blocks = it->sources[0]->quant ? block_dtype(it) : -1;
    own = source_dtype(p, it);
    if (own < 0)
        return own;
    type = p->type == HFTENSORS_AUTO ? own : p->type;
    if (is_always_f32(it))
        type = DTYPE_F32;
    else if (it->shape[0] % dtype_info((enum dtype)type)->block != 0)
        type = DTYPE_F16;
    it->type = (enum dtype)type;
    it->adds_one =
        p->t->folder->arch->adds_one_to_norms && str_ends(str_of(it->name), STR("norm.weight"));
    return 0;
}

/* ---- the plan ---- */

static uint64_t item_bytes(const struct hftensors_item *it)
{
    return it->parts * it->rows * it->columns / dtype_info(it->type)->block *
           dtype_info(it->type)->block_bytes;
}

static uint32_t file_type_of(enum dtype type)
{
    return type == DTYPE_F16     ? 1
           : type == DTYPE_BF16  ? 32
           : type == DTYPE_Q4_0  ? 2
           : type == DTYPE_Q4_1  ? 3
           : type == DTYPE_Q8_0  ? 7
           : type == DTYPE_MXFP4 ? 38
                                 : 0;
}

static struct hftensors_item *new_item(struct planning *p, uint32_t sources)
{
    struct hftensors_item *it = &p->t->items[p->t->count];

    if (p->t->count == p->room) {
        fail(p->err, LLMOS_ELIMIT, "more tensors come of the folder than it has");
        return NULL;
    }
    it->sources = arena_array(&p->t->arena, const struct hfsource *, sources);
    if (!it->sources) {
        fail(p->err, LLMOS_ENOMEM, "no memory for the plan of the tensors");
        return NULL;
    }
    it->source_count = sources;
    return it;
}

/* Programs that quantise give every matrix a bias, of zeros where the model has none. */
static bool is_idle(const struct planning *p, const struct hftensors_item *it)
{
    const struct hfsource *s = it->sources[0];
    const struct family *f = family_by_name(str_of(p->t->folder->arch->gguf));

    if (!str_ends(str_of(it->name), STR(".bias")) || s->quant || !f ||
        weights_know(f, str_of(it->name)))
        return false;
    for (uint64_t i = 0; i < s->tensor->bytes; i++)
        if (s->tensor->data[i])
            return false;
    return true;
}

static int keep_item(struct planning *p, struct hftensors_item *it)
{
    int rc;

    if (is_idle(p, it))
        return 0;
    rc = shape_item(p, it);
    if (rc == 0)
        rc = type_item(p, it);
    if (rc < 0)
        return rc;
    if (strcmp(it->name, "token_embd.weight") == 0) {
        if (it->n_dims != 2 || it->rows > HPARAMS_VOCAB_MAX)
            return misfit(p, it->sources[0], "is no table of tokens");
        p->t->vocab = (uint32_t)it->rows;
    }
    if (item_bytes(it) > p->most && it->n_dims > 1) {
        p->most = item_bytes(it);
        p->t->file_type = file_type_of(it->type);
    }
    p->t->bytes += item_bytes(it);
    p->t->count++;
    return 0;
}

/* The experts of a stack, found by their names: as many as there are without a gap. */
static int stack(struct planning *p, const struct hftensor *rule, struct match m, struct str prefix,
                 const char *suffix, const char *to)
{
    const struct hfsource *found[EXPERTS_MAX];
    struct hftensors_item *it;
    uint32_t n = 0;
    char name[256], from[256];

    for (m.expert = 0; n < EXPERTS_MAX; m.expert++) {
        write_name(from, sizeof(from), rule->from, m, suffix);
        if (snprintf(name, sizeof(name), "%.*s%s", STR_ARG(prefix), from) >= (int)sizeof(name))
            break;
        found[n] = hfsources_find(&p->sources, name);
        if (!found[n])
            break;
        n++;
    }
    it = new_item(p, n);
    if (!it)
        return p->err && p->err->code ? p->err->code : LLMOS_ENOMEM;
    memcpy(it->sources, found, n * sizeof(*found));
    snprintf(it->name, sizeof(it->name), "%s", to);
    it->how = HFTENSOR_STACK;
    return keep_item(p, it);
}

static int use_rule(struct planning *p, const struct hftensor *rule, struct match m,
                    const struct hfsource *s, struct str prefix, const char *suffix)
{
    const char *ending = rule->to && str_ends(str_of(rule->to), STR(".bias")) ? ""
                         : *suffix                                            ? suffix
                                                                              : ".weight";
    struct hftensors_item *it;
    char to[NAME_MAX_BYTES];

    if (rule->how == HFTENSOR_SKIP || (rule->how == HFTENSOR_STACK && m.expert > 0))
        return 0; /* an expert comes with number 0; check_experts sees whether all have come */
    write_name(to, sizeof(to), rule->to, m, ending);
    if (rule->how == HFTENSOR_STACK)
        return stack(p, rule, m, prefix, suffix, to);
    it = new_item(p, 1);
    if (!it)
        return p->err && p->err->code ? p->err->code : LLMOS_ENOMEM;
    it->sources[0] = s;
    it->how = rule->how;
    memcpy(it->name, to, sizeof(to));
    return keep_item(p, it);
}

/* All rules of the first set that knows the name.  1: there was one. */
static int use_set(struct planning *p, const struct hftensor *set, struct str name,
                   const struct hfsource *s, struct str prefix, const char *suffix)
{
    bool is_known = false;

    for (const struct hftensor *rule = set; rule && rule->from; rule++) {
        struct match m;
        int rc;

        if (!matches(rule->from, name, &m))
            continue;
        is_known = true;
        if (m.layer >= p->t->meta->layers)
            return fail(p->err, LLMOS_EFORMAT,
                        "tensor '%.*s' belongs to layer %" PRIu32 ", 'config.json' says %" PRIu32
                        " layers",
                        STR_ARG(s->name), m.layer, p->t->meta->layers);
        rc = use_rule(p, rule, m, s, prefix, suffix);
        if (rc < 0)
            return rc;
    }
    return is_known;
}

static int plan_tensor(struct planning *p, const struct hfsource *s)
{
    const struct hfarch *a = p->t->folder->arch;
    struct str name = s->name, prefix;
    const char *suffix;
    int rc;

    prefix = cut_prefix(a->prefix, &name);
    suffix = cut_suffix(&name);
    for (unsigned i = 0; i < HFARCH_SETS; i++) {
        rc = use_set(p, a->tensors[i], name, s, prefix, suffix);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    return fail(p->err, LLMOS_EUNSUPPORTED, "tensor '%.*s' has no place in architecture '%s'",
                STR_ARG(s->name), a->gguf);
}

static int plan_factors(struct planning *p)
{
    for (unsigned which = 0; which < HFMETA_FACTORS; which++) {
        float values[HFMETA_FACTORS_MAX], *kept;
        struct hftensors_item *it;
        const char *name;
        int n = hfmeta_factors(p->t->folder, p->t->meta, which, values, &name, p->err);

        if (n <= 0) {
            if (n < 0)
                return n;
            continue;
        }
        it = new_item(p, 0);
        kept = arena_array(&p->t->arena, float, (size_t)n);
        if (!it || !kept)
            return fail(p->err, LLMOS_ENOMEM, "no memory for factors of rotation");
        memcpy(kept, values, (size_t)n * sizeof(*kept));
        snprintf(it->name, sizeof(it->name), "%s", name);
        it->factors = kept;
        it->type = DTYPE_F32;
        shape_matrix(it, 1, 1, (uint64_t)n);
        p->t->bytes += item_bytes(it);
        p->t->count++;
    }
    return 0;
}

static bool item_before(const void *table, uint32_t a, uint32_t b)
{
    const struct hftensors_item *it = table;

    return strcmp(it[a].name, it[b].name) < 0;
}

static int check_twice(struct planning *p)
{
    uint32_t n = p->t->count, *order = arena_array(&p->t->arena, uint32_t, n);

    if (!order)
        return fail(p->err, LLMOS_ENOMEM, "no memory for the plan of the tensors");
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    sortindex(order, n, item_before, p->t->items);
    for (uint32_t i = 1; i < n; i++)
        if (strcmp(p->t->items[order[i - 1]].name, p->t->items[order[i]].name) == 0)
            return fail(p->err, LLMOS_EFORMAT, "two tensors of the folder become '%s'",
                        p->t->items[order[i]].name);
    return 0;
}

/* Each tensor that was not skipped must be a source of one that is written: experts have no gap. */
static int check_experts(struct planning *p, uint64_t stacked)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < p->t->count; i++)
        if (p->t->items[i].how == HFTENSOR_STACK && !p->t->items[i].factors)
            used += p->t->items[i].source_count;
    return used == stacked ? 0
                           : fail(p->err, LLMOS_EFORMAT,
                                  "%" PRIu64 " tensors are of experts, but only %" PRIu64
                                  " are in a row without a gap",
                                  stacked, used);
}

static uint64_t count_experts(const struct planning *p)
{
    const struct hffolder *f = p->t->folder;
    uint64_t n = 0;

    for (uint32_t i = 0; i < p->sources.count; i++) {
        struct str name = p->sources.at[i].name;
        struct match m;
        bool is_expert = false;

        cut_prefix(f->arch->prefix, &name);
        cut_suffix(&name);
        for (const struct hftensor *r = f->arch->tensors[0]; r && r->from && !is_expert; r++)
            is_expert = r->how == HFTENSOR_STACK && matches(r->from, name, &m);
        n += is_expert;
    }
    return n;
}

static int plan_all(struct planning *p)
{
    int rc = hfsources_read(&p->sources, p->t->folder, &p->t->arena, p->err);

    if (rc == 0)
        rc = plan_factors(p);
    for (uint32_t i = 0; i < p->sources.count && rc == 0; i++)
        rc = plan_tensor(p, &p->sources.at[i]);
    if (rc == 0)
        rc = check_experts(p, count_experts(p));
    if (rc == 0)
        rc = check_twice(p);
    if (rc == 0 && p->t->vocab == 0)
        rc = fail(p->err, LLMOS_EFORMAT, "the folder has no table of token embeddings");
    return rc;
}

int hftensors_plan(struct hftensors *t, const struct hffolder *f, const struct hfmeta *m, int type,
                   struct llmos_error *err)
{
    struct llmos_error own;
    struct planning p = {.t = t, .type = type, .err = err ? err : &own};
    int rc;

    *t = (struct hftensors){.folder = f, .meta = m};
    p.err->code = 0;
    p.room = 2 * f->tensor_count + HFMETA_FACTORS;
    arena_init(&t->arena,
               (size_t)p.room * (sizeof(struct hftensors_item) + HFSOURCE_BYTES_MAX) + (1u << 20));
    t->items = arena_array(&t->arena, struct hftensors_item, p.room);
    rc = t->items ? plan_all(&p) : fail(err, LLMOS_ENOMEM, "no memory for the plan of the tensors");
    if (rc < 0)
        hftensors_fini(t);
    return rc;
}

void hftensors_fini(struct hftensors *t)
{
    arena_fini(&t->arena);
}

void hftensors_declare(const struct hftensors *t, struct ggufwrite *w)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct hftensors_item *it = &t->items[i];

        ggufwrite_tensor(w, it->name, it->type, it->shape, it->n_dims);
    }
}

/* ---- values ---- */

/* Where a row begins, in values of its source, and how far its values lie apart. */
struct view {
    const struct hfsource *source;
    uint64_t at, step;
};

static struct view view_of(const struct hftensors *t, const struct hftensors_item *it,
                           uint64_t part, uint64_t row)
{
    struct view v = {.source = it->sources[0], .at = row * it->columns, .step = 1};
    uint64_t heads, half, in_head;

    switch (it->how) {
    case HFTENSOR_STACK:
        v.source = it->sources[part];
        break;
    case HFTENSOR_CUT_PADS:
        v.at = (row + it->skipped) * it->columns;
        break;
    case HFTENSOR_PERMUTE_Q:
    case HFTENSOR_PERMUTE_K:
        heads = it->how == HFTENSOR_PERMUTE_Q ? t->meta->heads : t->meta->heads_kv;
        half = it->rows / heads / 2;
        in_head = row % (2 * half);
        v.at = (row - in_head + in_head % 2 * half + in_head / 2) * it->columns;
        break;
    case HFTENSOR_TRANSPOSE:
        if (it->n_dims == 2)
            v = (struct view){.source = v.source, .at = row, .step = it->rows};
        break;
    case HFTENSOR_EACH_TRANSPOSE:
        v = (struct view){
            .source = v.source, .at = part * it->rows * it->columns + row, .step = it->rows};
        break;
    case HFTENSOR_EVEN_ROWS:
    case HFTENSOR_ODD_ROWS:
        if (v.source->n_dims == 3)
            v = (struct view){.source = v.source,
                              .at = part * 2 * it->rows * it->columns + 2 * row,
                              .step = 2 * it->rows};
        else
            v = (struct view){.source = v.source, .at = row * 2 * it->columns, .step = 2};
        v.at += it->how == HFTENSOR_ODD_ROWS;
        break;
    case HFTENSOR_MXFP4:
        v.at = (part * it->rows + row) * it->columns;
        break;
    case HFTENSOR_MXFP4_EVEN:
    case HFTENSOR_MXFP4_ODD:
        v.at = ((part * it->rows + row) * 2 + (it->how == HFTENSOR_MXFP4_ODD)) * it->columns;
        break;
    default:
        break;
    }
    return v;
}

static void read_values(const struct view *v, uint64_t columns, uint64_t from, float *out, size_t n)
{
    if (v->source->quant)
        hfquant_read(v->source->quant, v->at / columns, from, out, n);
    else
        safetensors_read(v->source->tensor, v->at + from * v->step, v->step, out, n);
}

static bool has_same_type(const struct hftensors_item *it)
{
    enum safetensors_type own = it->sources[0]->tensor->type;

    return !it->adds_one && !it->sources[0]->quant &&
           ((own == SAFETENSORS_F32 && it->type == DTYPE_F32) ||
            (own == SAFETENSORS_F16 && it->type == DTYPE_F16) ||
            (own == SAFETENSORS_BF16 && it->type == DTYPE_BF16));
}

/* Codes that need not be numbers in between. */
static int write_blocks(const struct view *v, const struct hftensors_item *it, struct ggufwrite *w,
                        struct llmos_error *err)
{
    const struct dtype_info *type = dtype_info(it->type);
    unsigned char blocks[CHUNK / Q_BLOCK * sizeof(struct block_q8_0)];
    int rc = 0;

    for (uint64_t at = 0; at < it->columns && rc == 0; at += CHUNK) {
        size_t n = it->columns - at < CHUNK ? (size_t)(it->columns - at) : CHUNK;

        hfquant_blocks(v->source->quant, it->type, v->at / it->columns, at, blocks, n);
        rc = ggufwrite_blocks(w, blocks, n / type->block * type->block_bytes, err);
    }
    return rc;
}

static int write_row(const struct hftensors *t, const struct hftensors_item *it, uint64_t part,
                     uint64_t row, struct ggufwrite *w, struct llmos_error *err)
{
    const struct view v = view_of(t, it, part, row);
    float values[CHUNK];
    int rc = 0;

    if (it->blocks == (int)it->type)
        return write_blocks(&v, it, w, err);
    if (v.step == 1 && has_same_type(it)) {
        unsigned width = safetensors_type_bytes(v.source->tensor->type);

        return ggufwrite_blocks(w, v.source->tensor->data + v.at * width, it->columns * width, err);
    }
    for (uint64_t at = 0; at < it->columns && rc == 0; at += CHUNK) {
        size_t n = it->columns - at < CHUNK ? (size_t)(it->columns - at) : CHUNK;

        read_values(&v, it->columns, at, values, n);
        for (size_t i = 0; it->adds_one && i < n; i++)
            values[i] += 1.0f;
        rc = ggufwrite_values(w, values, n, err);
    }
    return rc;
}

struct writing {
    const struct hftensors *t;
    struct ggufwrite *w;
    hftensors_progress progress;
    void *arg;
    uint64_t done, told;
    struct llmos_error *err;
};

static int tell(struct writing *p, uint64_t bytes)
{
    int rc = 0;

    p->done += bytes;
    if (p->progress && p->done - p->told >= 1u << 20) {
        p->told = p->done;
        rc = p->progress(p->arg, p->done, p->t->bytes);
    }
    return rc < 0 ? fail(p->err, rc, "the conversion was interrupted") : 0;
}

static int write_item(struct writing *p, const struct hftensors_item *it)
{
    uint64_t row_bytes = item_bytes(it) / (it->parts * it->rows);
    int rc = 0;

    if (it->factors)
        return ggufwrite_values(p->w, it->factors, (size_t)it->columns, p->err);
    for (uint64_t part = 0; part < it->parts; part++)
        for (uint64_t row = 0; row < it->rows && rc == 0; row++) {
            rc = write_row(p->t, it, part, row, p->w, p->err);
            if (rc == 0)
                rc = tell(p, row_bytes);
        }
    return rc;
}

int hftensors_write(const struct hftensors *t, struct ggufwrite *w, hftensors_progress progress,
                    void *arg, struct llmos_error *err)
{
    struct writing p = {.t = t, .w = w, .progress = progress, .arg = arg, .err = err};
    int rc = 0;

    for (uint32_t i = 0; i < t->count && rc == 0; i++)
        rc = write_item(&p, &t->items[i]);
    return rc;
}
