/* SPDX-License-Identifier: Apache-2.0 */
/* imatrix.c - see imatrix.h */
#include "model/imatrix.h"

#include "base/reader.h"
#include "model/ggufwrite.h"
#include "model/sortindex.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define ENTRIES_MAX  (1u << 20)
#define NAME_MAX_LEN 255

#define SUMS_END   ".in_sum2"
#define COUNTS_END ".counts"

/* ---- what both kinds have in common ---- */

static int check_values(const struct imatrix_entry *e, struct llmos_error *err)
{
    for (size_t i = 0; i < e->count; i++)
        if (!isfinite(e->values[i]) || e->values[i] < 0)
            return fail(err, LLMOS_EFORMAT,
                        "the importance of column %zu of '%.*s' is %g, a number from 0 is needed",
                        i, STR_ARG(e->name), (double)e->values[i]);
    return 0;
}

/* A copy of the name and room for values in the arena. */
static float *add_entry(struct imatrix *im, struct str name, size_t count, struct llmos_error *err)
{
    struct imatrix_entry *e = &im->entries[im->entry_count];
    float *values = arena_array(&im->arena, float, count);
    char *copy = arena_strndup(&im->arena, name.at, name.len);

    if (!values || !copy) {
        fail(err, LLMOS_ENOMEM, "no memory for the importance of '%.*s'", STR_ARG(name));
        return NULL;
    }
    *e = (struct imatrix_entry){{copy, name.len}, count, values};
    im->entry_count++;
    return values;
}

static bool name_before(const void *table, uint32_t a, uint32_t b)
{
    const struct imatrix_entry *e = table;

    return str_eq(e[a].name, e[b].name) ? a < b : str_before(e[a].name, e[b].name);
}

static int index_entries(struct imatrix *im, struct llmos_error *err)
{
    im->index = arena_array(&im->arena, uint32_t, im->entry_count);
    if (im->entry_count == 0)
        return fail(err, LLMOS_EFORMAT, "the file tells the importance of no matrix");
    if (!im->index)
        return fail(err, LLMOS_ENOMEM, "no memory for %zu names", im->entry_count);
    for (size_t i = 0; i < im->entry_count; i++)
        im->index[i] = (uint32_t)i;
    sortindex(im->index, im->entry_count, name_before, im->entries);
    for (size_t i = 1; i < im->entry_count; i++) {
        struct str name = im->entries[im->index[i]].name;

        if (str_eq(im->entries[im->index[i - 1]].name, name))
            return fail(err, LLMOS_EFORMAT, "matrix '%.*s' stands in the file twice",
                        STR_ARG(name));
    }
    return 0;
}

const struct imatrix_entry *imatrix_find(const struct imatrix *im, struct str name)
{
    size_t low = 0, high = im->entry_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct imatrix_entry *e = &im->entries[im->index[middle]];

        if (str_eq(e->name, name))
            return e;
        if (str_before(e->name, name))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- GGUF ---- */

static const struct gguf_tensor *counts_of(const struct gguf *g, struct str name)
{
    char text[NAME_MAX_LEN + sizeof(COUNTS_END)];

    memcpy(text, name.at, name.len);
    memcpy(text + name.len, COUNTS_END, sizeof(COUNTS_END));
    return gguf_find_tensor(g, text);
}

static int check_pair(const struct gguf_tensor *sums, const struct gguf_tensor *counts,
                      struct llmos_error *err)
{
    uint64_t rows = (uint64_t)sums->t.shape[1] * sums->t.shape[2] * sums->t.shape[3];

    if (!counts || sums->dtype != DTYPE_F32 || counts->dtype != DTYPE_F32)
        return fail(err, LLMOS_EFORMAT,
                    "tensor '%.*s' needs one of counts beside it, both of type f32",
                    STR_ARG(sums->name));
    if (counts->bytes / sizeof(float) != rows)
        return fail(err, LLMOS_EFORMAT, "tensor '%.*s' has %" PRIu64 " rows and %" PRIu64 " counts",
                    STR_ARG(sums->name), rows, counts->bytes / sizeof(float));
    return 0;
}

static int read_pair(struct imatrix *im, const struct gguf_tensor *sums,
                     const struct gguf_tensor *counts, struct str name, struct llmos_error *err)
{
    size_t total = sums->bytes / sizeof(float), columns = sums->t.shape[0];
    const float *from = sums->t.data, *count = counts->t.data;
    float *values = add_entry(im, name, total, err);

    if (!values)
        return LLMOS_ENOMEM;
    for (size_t i = 0; i < total; i++) {
        float n = count[i / columns];

        values[i] = n > 0 ? from[i] / n : 1; /* an expert that was never asked: all alike */
    }
    return check_values(&im->entries[im->entry_count - 1], err);
}

static int read_tensors(struct imatrix *im, const struct gguf *g, struct llmos_error *err)
{
    struct str end = STR(SUMS_END);

    im->entries = arena_array(&im->arena, struct imatrix_entry, g->tensor_count);
    if (!im->entries)
        return fail(err, LLMOS_ENOMEM, "no memory for %zu entries", g->tensor_count);
    for (size_t i = 0; i < g->tensor_count; i++) {
        const struct gguf_tensor *sums = &g->tensors[i], *counts;
        struct str name = {sums->name.at, sums->name.len - end.len};
        int rc;

        if (!str_ends(sums->name, end) || sums->name.len == end.len)
            continue;
        counts = counts_of(g, name);
        rc = check_pair(sums, counts, err);
        if (rc == 0)
            rc = read_pair(im, sums, counts, name, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int parse_gguf(struct imatrix *im, const void *bytes, size_t n, struct llmos_error *err)
{
    struct gguf g;
    struct str type = STR("");
    uint64_t chunks = 0;
    int rc = gguf_parse(&g, bytes, n, err);

    if (rc < 0)
        return rc;
    rc = gguf_get_str(&g, "general.type", &type, err);
    if (rc >= 0 && !str_is(type, "imatrix"))
        rc = fail(err, LLMOS_EFORMAT, "the file holds no importance data: its type is '%.*s'",
                  STR_ARG(type));
    if (rc >= 0)
        rc = gguf_get_u64(&g, "imatrix.chunk_count", 0, UINT32_MAX, &chunks, err);
    if (rc >= 0)
        rc = read_tensors(im, &g, err);
    im->chunks = (uint32_t)chunks;
    gguf_fini(&g);
    return rc < 0 ? rc : 0;
}

/* ---- the older kind ---- */

static int read_entry(struct imatrix *im, struct reader *r, struct llmos_error *err)
{
    uint32_t len = reader_u32(r);
    const char *at = reader_bytes(r, len <= NAME_MAX_LEN ? len : SIZE_MAX);
    uint32_t calls = reader_u32(r), count = reader_u32(r);
    float *values;

    if (r->bad || len == 0)
        return fail(err, LLMOS_EFORMAT, "entry %zu has no name, or is cut off", im->entry_count);
    if (count == 0 || count > reader_left(r) / sizeof(float))
        return fail(err, LLMOS_EFORMAT, "'%.*s' promises %" PRIu32 " values, %zu bytes are left",
                    (int)len, at, count, reader_left(r));
    values = add_entry(im, (struct str){at, len}, count, err);
    if (!values)
        return LLMOS_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        values[i] = reader_f32(r) / (calls > 0 && calls <= INT32_MAX ? (float)calls : 1);
    return check_values(&im->entries[im->entry_count - 1], err);
}

static int parse_list(struct imatrix *im, const void *bytes, size_t n, struct llmos_error *err)
{
    struct reader r = reader_of(bytes, n);
    uint32_t count = reader_u32(&r);

    if (r.bad || count == 0 || count > ENTRIES_MAX || count > n / 16)
        return fail(err, LLMOS_EFORMAT, "the file holds no importance data");
    im->entries = arena_array(&im->arena, struct imatrix_entry, count);
    if (!im->entries)
        return fail(err, LLMOS_ENOMEM, "no memory for %" PRIu32 " entries", count);
    while (im->entry_count < count) {
        int rc = read_entry(im, &r, err);

        if (rc < 0)
            return rc;
    }
    im->chunks = reader_left(&r) >= 4 ? reader_u32(&r) : 0; /* the first writers ended here */
    return 0;
}

/* ---- all of it ---- */

int imatrix_parse(struct imatrix *im, const void *bytes, size_t n, struct llmos_error *err)
{
    struct imatrix parsed = {.entries = NULL};
    bool is_gguf = n >= 4 && memcmp(bytes, "GGUF", 4) == 0;
    int rc;

    /* An entry of 16 bytes becomes one of 48, and a name; values are copied. */
    arena_init(&parsed.arena, n > SIZE_MAX / 16 ? SIZE_MAX / 2 : 8 * n + 4096);
    rc = is_gguf ? parse_gguf(&parsed, bytes, n, err) : parse_list(&parsed, bytes, n, err);
    if (rc == 0)
        rc = index_entries(&parsed, err);
    if (rc < 0) {
        arena_fini(&parsed.arena);
        return rc;
    }
    *im = parsed;
    return 0;
}

void imatrix_fini(struct imatrix *im)
{
    arena_fini(&im->arena);
    *im = (struct imatrix){.entries = NULL};
}

static const char *named(char text[static NAME_MAX_LEN + 16], struct str name, const char *end)
{
    snprintf(text, NAME_MAX_LEN + 16, "%.*s%s", (int)(name.len < 240 ? name.len : 240), name.at,
             end);
    return text;
}

int imatrix_write(int fd, const struct imatrix_sums *all, size_t n, struct str dataset,
                  uint32_t chunks, uint32_t chunk_tokens, struct llmos_error *err)
{
    char text[NAME_MAX_LEN + 16];
    struct ggufwrite w;
    int rc;

    ggufwrite_init(&w, fd);
    ggufwrite_str(&w, "general.type", STR("imatrix"));
    ggufwrite_array(&w, "imatrix.datasets", GGUF_STRING, 1);
    ggufwrite_put_str(&w, dataset);
    ggufwrite_u32(&w, "imatrix.chunk_count", chunks);
    ggufwrite_u32(&w, "imatrix.chunk_size", chunk_tokens);
    for (size_t i = 0; i < n; i++) {
        ggufwrite_tensor(&w, named(text, all[i].name, SUMS_END), DTYPE_F32,
                         (uint64_t[]){all[i].columns, 1}, 2);
        ggufwrite_tensor(&w, named(text, all[i].name, COUNTS_END), DTYPE_F32, (uint64_t[]){1, 1},
                         2);
    }
    rc = ggufwrite_begin(&w, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = ggufwrite_values(&w, all[i].sums, all[i].columns, err);
        if (rc == 0)
            rc = ggufwrite_values(&w, &(float){(float)all[i].count}, 1, err);
    }
    if (rc == 0)
        rc = ggufwrite_end(&w, err);
    ggufwrite_fini(&w);
    return rc;
}
