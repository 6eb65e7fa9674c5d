/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.c - see inspect.h: everything that a model file says of itself, as JSON.
 *
 * Works for every file that can be parsed; whether it can be run, and why not, is part of what is
 * told.  Written straight into a buffer: the text stays in proportion to the file. */
#include "model/inspect.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "llmos/model.h"
#include "model/vocab.h"
#include "model/weights.h"

#include <inttypes.h>
#include <math.h>

#define JSON_BYTES_MAX   (256u << 20)
#define TEXT_BYTES_SHOWN 65536 /* of a string; chat templates have up to 10000 */
#define ELEMENTS_SHOWN   8     /* of an array */
#define KEYS_SHOWN       4096  /* published files have about 50 */
#define TENSORS_SHOWN    65536 /* published files have up to some thousand */

/* ---- values ---- */

/* Without U+0000, which most readers of JSON refuse, and cut when it is too long. */
static void put_text(struct buf *b, struct str s)
{
    char shown[TEXT_BYTES_SHOWN];
    bool cut = s.len > sizeof(shown) - 3;
    size_t n = cut ? sizeof(shown) - 3 : s.len;

    for (size_t i = 0; i < n; i++)
        shown[i] = s.at[i] ? s.at[i] : '\xff'; /* an invalid byte becomes U+FFFD */
    if (cut) {
        while (n > 0 && ((unsigned char)shown[n - 1] & 0xc0) == 0x80)
            n--;
        if (n > 0 && (unsigned char)shown[n - 1] >= 0xc0)
            n--;
        memcpy(shown + n, "...", 3);
        n += 3;
    }
    json_put_string(b, (struct str){shown, n});
}

static void put_u64(struct buf *b, uint64_t v)
{
    buf_printf(b, v > INT64_MAX ? "\"%" PRIu64 "\"" : "%" PRIu64, v);
}

static void put_f64(struct buf *b, double v)
{
    if (isnan(v))
        buf_puts(b, "\"nan\"");
    else if (isinf(v))
        buf_puts(b, v > 0 ? "\"inf\"" : "\"-inf\"");
    else
        buf_printf(b, "%.9g", v);
}

static void put_element(struct buf *b, const struct gguf_array *a, uint64_t i)
{
    unsigned char raw[8] = {0};
    size_t bytes = gguf_type_bytes(a->type);
    uint64_t u = 0;
    double d;
    int64_t s;

    if (a->type == GGUF_STRING) {
        put_text(b, gguf_array_str(a, i));
        return;
    }
    memcpy(raw, a->at + i * bytes, bytes);
    for (size_t k = 8; k-- > 0;)
        u = u << 8 | raw[k];
    s = (int64_t)(u << (64 - 8 * bytes)) >> (64 - 8 * bytes);
    memcpy(&d, raw, sizeof(d));
    switch (a->type) {
    case GGUF_F32:
        put_f64(b, (double)gguf_array_f32(a, i));
        break;
    case GGUF_F64:
        put_f64(b, d);
        break;
    case GGUF_BOOL:
        buf_puts(b, u ? "true" : "false");
        break;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        buf_printf(b, "%" PRId64, s);
        break;
    default:
        put_u64(b, u);
    }
}

static void put_array(struct buf *b, const struct gguf_array *a)
{
    buf_printf(b, "{\"type\":\"%s\",\"count\":%" PRIu64 ",\"first\":[", gguf_type_name(a->type),
               a->count);
    for (uint64_t i = 0; i < a->count && i < ELEMENTS_SHOWN; i++) {
        buf_puts(b, i ? "," : "");
        put_element(b, a, i);
    }
    buf_puts(b, "]}");
}

static void put_value(struct buf *b, const struct gguf_value *v)
{
    switch (v->type) {
    case GGUF_STRING:
        put_text(b, v->s);
        break;
    case GGUF_ARRAY:
        put_array(b, &v->a);
        break;
    case GGUF_F32:
    case GGUF_F64:
        put_f64(b, v->f);
        break;
    case GGUF_BOOL:
        buf_puts(b, v->u ? "true" : "false");
        break;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        buf_printf(b, "%" PRId64, v->i);
        break;
    default:
        put_u64(b, v->u);
    }
}

/* ---- the parts ---- */

static bool is_showable(struct str key)
{
    return utf8_valid_bytes(key) == key.len && !memchr(key.at, 0, key.len);
}

/* Keys that are not text are counted only: made readable, two might become one. */
static void put_metadata(struct buf *b, const struct gguf *g)
{
    size_t shown = 0;

    buf_puts(b, ",\"metadata\":{");
    for (size_t i = 0; i < g->value_count && shown < KEYS_SHOWN; i++) {
        if (!is_showable(g->values[i].key))
            continue;
        buf_puts(b, shown++ ? "," : "");
        json_put_string(b, g->values[i].key);
        buf_putc(b, ':');
        put_value(b, &g->values[i]);
    }
    buf_printf(b, "},\"metadata_left_out\":%zu", g->value_count - shown);
}

static void put_hparams(struct buf *b, const struct hparams *h)
{
    static const char *const scalings[] = {"none", "linear", "yarn", "llama3", "longrope"};

    buf_printf(b,
               "\"layers\":%" PRIu32 ",\"width\":%" PRIu32 ",\"hidden\":%" PRIu32
               ",\"heads\":%" PRIu32 ",\"heads_kv\":%" PRIu32 ",\"head_dim\":%" PRIu32
               ",\"vocabulary\":%" PRIu32 ",\"context_trained\":%" PRIu32,
               h->n_layer, h->n_embd, h->n_ff, h->n_head, h->n_head_kv, h->head_dim, h->n_vocab,
               h->n_ctx_train);
    buf_printf(b,
               ",\"rope_dims\":%" PRIu32 ",\"rope_base\":%.9g,\"rope_scaling\":\"%s\""
               ",\"rope_factor\":%.9g,\"rms_eps\":%.9g,\"tied_output\":%s",
               h->rope_dims, (double)h->rope_base, scalings[h->rope_scaling],
               (double)h->rope_factor, (double)h->rms_eps, h->tied_output ? "true" : "false");
    buf_printf(b, ",\"parameters\":%" PRIu64 ",\"file_type\":\"%s\"", h->parameter_count,
               h->file_type);
}

static void put_tokenizer(struct buf *b, const struct llmos_tokenizer *t)
{
    buf_printf(b, ",\"tokenizer\":{\"kind\":\"%s\",\"pre\":\"%s\"", t->kind->name, t->splitting);
    buf_printf(b,
               ",\"tokens\":%" PRId32 ",\"bos\":%" PRId32 ",\"eos\":%" PRId32
               ",\"chat_format\":\"%s\"}",
               llmos_token_count(t), llmos_token_bos(t), llmos_token_eos(t), llmos_chat_format(t));
}

static void put_memory(struct buf *b, const struct gguf *g, const struct hparams *h)
{
    uint64_t weights = 0;

    for (size_t i = 0; i < g->tensor_count; i++)
        weights += g->tensors[i].bytes;
    buf_printf(b, ",\"memory\":{\"weight_bytes\":%" PRIu64, weights);
    if (h)
        buf_printf(
            b, ",\"kv_bytes_per_token_f16\":%" PRIu64 ",\"kv_bytes_at_trained_context\":%" PRIu64,
            hparams_kv_bytes(h), hparams_kv_bytes(h) * h->n_ctx_train);
    buf_puts(b, "}");
}

static void put_tensor(struct buf *b, const struct gguf *g, const struct gguf_tensor *t)
{
    const char *type = dtype_gguf_name(t->type_id);

    buf_puts(b, "{\"name\":");
    put_text(b, t->name);
    if (type)
        buf_printf(b, ",\"type\":\"%s\",\"shape\":[", type);
    else
        buf_printf(b, ",\"type\":\"number %" PRIu32 "\",\"shape\":[", t->type_id);
    for (unsigned d = 0; d < t->t.n_dims; d++)
        buf_printf(b, "%s%zu", d ? "," : "", t->t.shape[d]);
    buf_printf(b, "],\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64, t->offset, t->bytes);
    if (g->part_count > 1)
        buf_printf(b, ",\"part\":%" PRIu32, t->part + 1);
    buf_puts(b, "}");
}

static void put_tensors(struct buf *b, const struct gguf *g)
{
    size_t shown = g->tensor_count < TENSORS_SHOWN ? g->tensor_count : TENSORS_SHOWN;

    buf_puts(b, ",\"tensors\":[");
    for (size_t i = 0; i < shown; i++) {
        buf_puts(b, i ? "," : "");
        put_tensor(b, g, &g->tensors[i]);
    }
    buf_printf(b, "],\"tensors_left_out\":%zu", g->tensor_count - shown);
}

static void put_parts(struct buf *b, const struct gguf *g)
{
    buf_puts(b, ",\"parts\":[");
    for (unsigned i = 0; i < g->part_count; i++) {
        size_t tensors = 0;

        for (size_t k = 0; k < g->tensor_count; k++)
            tensors += g->tensors[k].part == i;
        buf_printf(b, "%s{\"part\":%u,\"tensors\":%zu,\"bytes\":%zu}", i ? "," : "", i + 1, tensors,
                   g->part_bytes[i]);
    }
    buf_puts(b, "]");
}

/* ---- the whole ---- */

/* Can it be run?  LLMOS_ENOMEM is no answer to that. */
static int put_verdict(struct buf *b, const struct gguf *g, struct llmos_error *err)
{
    struct llmos_error why = {0};
    struct hparams h;
    struct weights w;
    struct llmos_tokenizer *t = NULL;
    struct arena arena;
    int hparams_rc = hparams_read(&h, g, &why), rc = hparams_rc, t_rc;

    arena_init(&arena, 4 << 20); /* as model.c */
    if (rc == 0)
        rc = gguf_check_whole(g, &why);
    if (rc == 0)
        rc = weights_bind(&w, g, &h, &arena, &why);
    arena_fini(&arena);
    t_rc = vocab_create(&t, g, rc == 0 ? &why : NULL);
    if (rc == 0)
        rc = t_rc;
    buf_printf(b, ",\"runnable\":%s,\"reason\":", rc == 0 ? "true" : "false");
    if (rc == 0)
        buf_puts(b, "null");
    else
        put_text(b, str_of(why.text));
    buf_puts(b, ",\"hyperparameters\":{");
    if (hparams_rc == 0)
        put_hparams(b, &h);
    buf_puts(b, "}");
    if (t)
        put_tokenizer(b, t);
    put_memory(b, g, hparams_rc == 0 ? &h : NULL);
    vocab_destroy(t);
    return rc == LLMOS_ENOMEM || t_rc == LLMOS_ENOMEM
               ? fail(err, LLMOS_ENOMEM, "no memory to look at the model")
               : 0;
}

static int put_all(struct buf *b, const struct gguf *g, struct llmos_error *err)
{
    int rc;

    buf_printf(b,
               "{\"format\":\"GGUF\",\"version\":%" PRIu32 ",\"alignment\":%" PRIu32
               ",\"file_bytes\":%zu,\"data_offset\":%zu",
               g->version, g->alignment, g->file_bytes, g->data_offset);
    if (g->part_count > 1)
        put_parts(b, g);
    rc = put_verdict(b, g, err);
    if (rc < 0)
        return rc;
    put_metadata(b, g);
    put_tensors(b, g);
    buf_puts(b, "}");
    return buf_check(b, "the description of the model", err);
}

int inspect_maps(const struct file_map *parts, unsigned count, struct buf *json,
                 struct llmos_error *err)
{
    struct gguf g;
    int rc = gguf_parse_parts(&g, parts, count, err);

    if (rc < 0)
        return rc;
    rc = put_all(json, &g, err);
    gguf_fini(&g);
    return rc;
}

int inspect_parts(const int *fds, unsigned count, char **json, size_t *length,
                  struct llmos_error *err)
{
    CLEANUP(parts_map) struct parts_map map = {.count = 0};
    struct buf b;
    int rc = parts_map(&map, fds, count, err);

    if (rc < 0)
        return rc;
    buf_init(&b, JSON_BYTES_MAX);
    rc = inspect_maps(map.maps, map.count, &b, err);
    if (rc < 0) {
        buf_fini(&b);
        return rc;
    }
    *json = b.at;
    *length = b.len;
    return 0;
}

int llmos_inspect_fd(int fd, char **json, size_t *length, struct llmos_error *err)
{
    return inspect_parts(&fd, 1, json, length, err);
}
