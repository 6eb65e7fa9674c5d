/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - see forward.h */
#include "infer/attend.h"

#include "base/clock.h"
#include "tensor/plain.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* So few rows are normalised and prepared by every thread for itself: cheaper than to meet. */
#define PRIVATE_ROWS 4
/* Products of so few rows wait for memory, those of more for arithmetic. */
#define FEW_ROWS 64

struct span {
    size_t begin, end;
};

/* --- sizes --- */

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static const struct tensor *weight(const struct forward *f, uint32_t layer,
                                   const struct arch_op *op)
{
    return weights_get(f->w, layer, op->weight);
}

/* The distinct prepared forms that a stage's products want; form[i] is that of product i. */
static size_t stage_forms(const struct forward *f, const struct stage *s, uint32_t layer,
                          size_t form[STAGE_LINEARS_MAX], enum dtype type[STAGE_LINEARS_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < s->linear_count; i++) {
        enum dtype t = weight(f, layer, &s->linear[i])->type;

        for (form[i] = 0; form[i] < count; form[i]++)
            if (f->backend->prepared_form(type[form[i]]) == f->backend->prepared_form(t))
                break;
        if (form[i] == count)
            type[count++] = t;
    }
    return count;
}

static void measure_linear(struct forward *f, const struct stage *s, uint32_t layer)
{
    size_t form[STAGE_LINEARS_MAX];
    enum dtype type[STAGE_LINEARS_MAX];
    size_t forms = stage_forms(f, s, layer, form, type);
    size_t inner = weight(f, layer, &s->linear[0])->shape[0];

    f->forms_max = most(f->forms_max, forms);
    for (size_t i = 0; i < forms; i++)
        f->prepared_bytes = most(f->prepared_bytes, f->backend->prepared_bytes(type[i], inner));
    for (size_t i = 0; i < s->linear_count; i++) {
        enum arch_slot out = s->linear[i].out;
        f->slot_width[out] = most(f->slot_width[out], weight(f, layer, &s->linear[i])->shape[1]);
    }
}

static void measure_rows(struct forward *f, const struct stage *s)
{
    for (size_t i = 0; i < s->local_count; i++) {
        const struct arch_op *op = &s->local[i];

        if (op->kind == OP_EMBED)
            f->slot_width[op->out] = f->h->n_embd;
        if (op_is_norm(op))
            f->slot_width[op->out] = f->slot_width[op->a];
    }
}

static void measure(struct forward *f, const struct stages *stages, uint32_t layer)
{
    for (size_t i = 0; i < stages->count; i++) {
        const struct stage *s = &stages->at[i];

        if (s->kind == STAGE_LINEAR)
            measure_linear(f, s, layer);
        else if (s->kind == STAGE_ROWS)
            measure_rows(f, s);
        else if (s->kind == STAGE_EXPERTS)
            f->slot_width[s->linear->out] = f->h->n_embd;
        else if (s->kind == STAGE_ATTEND || s->kind == STAGE_TEXT)
            f->slot_width[s->linear->out] = (size_t)f->h->n_head * f->h->head_dim;
    }
}

static unsigned ropes_of(const struct hparams *h)
{
    return h->rope_dims == 0 ? 0 : h->window && h->window_rope_base != 0 ? 2 : 1;
}

static void carve_speeds(struct forward *f, struct carve *c)
{
    f->layer.first = f->before.count;
    f->after.first = f->layer.first + f->h->n_layer * f->layer.count;
    f->head.first = f->after.first + f->after.count;
    f->stages = f->head.first + f->head.count;
    f->speeds = carve_bytes(c, 2 * f->stages, f->limits.threads * sizeof(float));
    f->done = carve_array(c, struct share_done, f->limits.threads);
}

/* The slot of the last operation before a head. */
static enum arch_slot end_of(const struct forward *f)
{
    const struct stages *last = f->after.count ? &f->after : &f->layer;
    const struct stage *s = &last->at[last->count - 1];

    return s->local_count ? s->local[s->local_count - 1].out : s->linear[s->linear_count - 1].out;
}

/* What runs with a back end need. */
static void measure_all(struct forward *f, const struct backend *backend)
{
    f->backend = backend;
    measure(f, &f->before, 0);
    for (uint32_t l = 0; l < f->h->n_layer; l++)
        measure(f, &f->layer, l);
    measure(f, &f->after, 0);
}

const struct backend *forward_backend(const struct hparams *h, const struct weights *w)
{
    const struct backend *best = backend_best();
    uint64_t all = 0, other = 0;

    if (!best->prompts || !best->prompts->usable())
        return best;
    for (uint32_t l = 0; l < h->n_layer; l++) {
        for (int role = WEIGHT_MODEL_COUNT; role < WEIGHT_ROLE_COUNT; role++) {
            const struct tensor *t = weights_get(w, l, (enum weight_role)role);
            uint64_t values =
                t && t->n_dims > 1 ? (uint64_t)t->shape[0] * t->shape[1] * t->shape[2] : 0;

            all += values;
            if (values && best->prompts->prepared_form(t->type) != best->prepared_form(t->type))
                other += values;
        }
    }
    return other > 0 && 2 * other >= all ? best->prompts : best;
}

void forward_carve(struct forward *f, const struct hparams *h, const struct weights *w,
                   const struct arch *arch, const struct backend *backend,
                   const struct forward_limits *limits, struct carve *c)
{
    size_t threads = limits->threads, rows = limits->rows_max, widest = 0;

    *f = (struct forward){.h = h,
                          .w = w,
                          .arch = arch,
                          .prompts = backend,
                          .backend = backend,
                          .limits = *limits,
                          .sees_text = h->is_encoder};
    stages_plan(&f->before, &arch->before, h, w, true);
    stages_plan(&f->layer, &arch->layer, h, w, true);
    stages_plan(&f->after, &arch->after, h, w, !limits->head);
    if (backend->generates)
        measure_all(f, backend->generates);
    measure_all(f, backend);
    if (limits->head) {
        f->end = end_of(f);
        f->slot_width[SLOT_P] = h->n_embd;
        stages_plan(&f->head, limits->head, h, w, true);
        measure(f, &f->head, 0);
    }

    for (int i = 0; i < SLOT_COUNT; i++) {
        f->slot_stride[i] = (f->slot_width[i] + 15) / 16 * 16;
        f->slots[i] = carve_bytes(c, i == SLOT_LOGITS ? limits->logits_max : rows,
                                  f->slot_stride[i] * sizeof(float));
        if (i != SLOT_LOGITS)
            widest = most(widest, f->slot_stride[i]);
    }
    for (unsigned i = 0; i < ropes_of(h); i++) {
        rope_carve(&f->ropes[i], h, c);
        f->rope_rows[i] = carve_bytes(c, rows, h->rope_dims * sizeof(float));
    }
    if (h->rope_scaling == ROPE_LONGROPE)
        rope_carve(&f->rope_long, h, c);
    experts_carve(&f->experts, h, w, backend, rows, c);
    f->private_rows = rows < PRIVATE_ROWS ? rows : PRIVATE_ROWS;
    f->prepared = carve_bytes(c, rows * f->forms_max, f->prepared_bytes);
    f->prepared_private =
        carve_bytes(c, threads * f->private_rows * f->forms_max, f->prepared_bytes);
    f->normed_stride = widest;
    f->normed = carve_bytes(c, threads, widest * sizeof(float));
    carve_speeds(f, c);
    if (f->sees_text)
        textattend_carve(&f->textattend, h, backend, limits->threads, rows, c);
    else
        attend_carve(f, c);
}

static void init_ropes(struct forward *f)
{
    bool is_longrope = f->h->rope_scaling == ROPE_LONGROPE;
    enum weight_role factors = is_longrope ? WEIGHT_ROPE_SHORT : WEIGHT_ROPE_FREQS;
    struct hparams windowed = *f->h;

    windowed.rope_base = f->h->window_rope_base;
    windowed.rope_scaling = ROPE_NONE;
    if (ropes_of(f->h) > 0)
        rope_init(&f->ropes[0], f->h, weights_get(f->w, 0, factors));
    if (ropes_of(f->h) > 1)
        rope_init(&f->ropes[1], &windowed, NULL);
    if (ropes_of(f->h) > 0 && is_longrope)
        rope_init(&f->rope_long, f->h, weights_get(f->w, 0, WEIGHT_ROPE_LONG));
}

void forward_init(struct forward *f, struct pool *pool, const struct kv *kv)
{
    f->pool = pool;
    f->kv = kv;
    for (size_t i = 0; i < 2 * f->stages; i++)
        shares_begin(f->speeds + i * f->limits.threads, f->limits.threads);
    init_ropes(f);
}

/* --- stages --- */

static void normalise(const struct forward *f, const struct arch_op *op, const float *x, float *out)
{
    const struct tensor *w = weight(f, f->layer_now, op);
    const struct tensor *bias = op->bias ? weights_get(f->w, f->layer_now, op->bias) : NULL;

    if (!w)
        memcpy(out, x, f->slot_width[op->a] * sizeof(*x));
    else if (op->kind == OP_NORM)
        f->backend->rmsnorm(x, w->data, w->shape[0], f->h->rms_eps, out);
    else
        f->backend->layernorm(x, w->data, bias ? bias->data : NULL, w->shape[0], f->h->rms_eps,
                              out);
}

static void activate(const struct forward *f, float *x, size_t n)
{
    void (*const activations[ACTIVATIONS])(float *, size_t) = {
        [ACTIVATION_SILU] = plain_silu,
        [ACTIVATION_GELU] = f->backend->gelu,
        [ACTIVATION_GELU_TANH] = f->backend->gelu_tanh,
    };

    activations[f->h->activation](x, n);
}

static void glu(const struct forward *f, float *gate, const float *up, size_t n)
{
    if (f->h->activation == ACTIVATION_SILU) {
        f->backend->swiglu(gate, up, n);
        return;
    }
    activate(f, gate, n);
    plain_mul(gate, up, n);
}

/* Elementwise, or head by head: the columns c of row t. */
static void do_columns(struct forward *f, const struct arch_op *op, size_t t, struct span c)
{
    float *out = forward_slot(f, op->out, t) + c.begin;
    const float *a = op->a ? forward_slot(f, op->a, t) + c.begin : NULL;
    const float *w = op_has_weight(op) ? weight(f, f->layer_now, op)->data : NULL;
    size_t n = c.end - c.begin, head_dim = f->h->head_dim;
    const struct rope *rope = &f->ropes[f->rope_now];

    switch (op->kind) {
    case OP_ADD:
        f->backend->add(out, a, n);
        break;
    case OP_GLU:
        glu(f, out, a, n);
        break;
    case OP_ACTIVATE:
        activate(f, out, n);
        break;
    case OP_TANH:
        plain_tanh(out, n);
        break;
    case OP_RELU:
        for (size_t i = 0; i < n; i++)
            out[i] = fmaxf(out[i], 0);
        break;
    case OP_BIAS:
        f->backend->add(out, w + c.begin, n);
        break;
    case OP_SCALE:
        plain_scale(out, op_factor(f->h, op), n);
        break;
    case OP_SOFTCAP:
        plain_softcap(out, op_factor(f->h, op), n);
        break;
    case OP_HEAD_NORM:
        for (size_t i = 0; i < n; i += head_dim)
            f->backend->rmsnorm(out + i, w, head_dim, f->h->rms_eps, out + i);
        break;
    case OP_ROPE:
        for (size_t i = 0; i < n && hparams_rotates(f->h, f->layer_now); i += head_dim)
            f->backend->rope(out + i, f->rope_rows[f->rope_now] + t * rope->dims, rope->dims,
                             !f->h->rope_halves);
        break;
    default:
        assert(false);
    }
}

static void embed(struct forward *f, const struct arch_op *op, size_t t)
{
    const struct tensor *w = weight(f, 0, op);

    f->backend->row_to_f32(w->type, tensor_row(w, (size_t)f->rows[t].token),
                           forward_slot(f, op->out, t), w->shape[0]);
    for (unsigned i = 0; i < ropes_of(f->h); i++) {
        const struct rope *r = i == 0 && f->rows[t].is_long ? &f->rope_long : &f->ropes[i];

        rope_row(r, f->rows[t].position, f->rope_rows[i] + t * r->dims);
    }
}

/* Of a table by position or by segment. */
static void add_row(struct forward *f, const struct arch_op *op, size_t t, float *scratch)
{
    const struct tensor *w = weight(f, 0, op);
    size_t row = op->kind == OP_POSITION ? f->rows[t].position : f->rows[t].segment;

    f->backend->row_to_f32(w->type, tensor_row(w, row), scratch, w->shape[0]);
    f->backend->add(forward_slot(f, op->out, t), scratch, w->shape[0]);
}

static float *normed_of(const struct forward *f, unsigned part)
{
    return f->normed + part * f->normed_stride;
}

static void rows_part(void *arg, unsigned part, unsigned parts)
{
    struct forward *f = arg;
    const struct stage *s = f->stage_now;
    size_t begin, end;

    pool_share(f->n, 1, part, parts, &begin, &end);
    for (size_t i = 0; i < s->local_count; i++) {
        const struct arch_op *op = &s->local[i];

        for (size_t t = begin; t < end; t++) {
            if (op->kind == OP_EMBED)
                embed(f, op, t);
            else if (op->kind == OP_POSITION || op->kind == OP_SEGMENT)
                add_row(f, op, t, normed_of(f, part));
            else if (op->kind == OP_ROUTE)
                experts_route(&f->experts, t, forward_slot(f, op->a, t));
            else if (op->kind == OP_GATE)
                plain_sigmoid_scale(forward_slot(f, op->out, t), *forward_slot(f, op->a, t),
                                    f->slot_width[op->out]);
            else if (op_is_norm(op))
                normalise(f, op, forward_slot(f, op->a, t), forward_slot(f, op->out, t));
            else
                do_columns(f, op, t, (struct span){0, f->slot_width[op->out]});
        }
    }
}

/* Rows [begin, end) of the stage's source, normalised if it says so, in every form its products
 * want: form k of row t at to + (k * room + t) vectors. */
static void prepare_rows(struct forward *f, size_t begin, size_t end, char *to, size_t room,
                         float *normed)
{
    const struct stage *s = f->stage_now;
    size_t form[STAGE_LINEARS_MAX];
    enum dtype type[STAGE_LINEARS_MAX];
    size_t forms = stage_forms(f, s, f->layer_now, form, type);
    size_t inner = weight(f, f->layer_now, &s->linear[0])->shape[0];

    for (size_t t = begin; t < end; t++) {
        const float *x = forward_slot(f, s->source, t);

        if (s->norm) {
            normalise(f, s->norm, x, normed);
            x = normed;
        }
        for (size_t k = 0; k < forms; k++)
            f->backend->prepare(type[k], x, inner,
                                to + k * room * f->prepared_bytes +
                                    t * f->backend->prepared_bytes(type[k], inner));
    }
}

static void prepare_part(void *arg, unsigned part, unsigned parts)
{
    struct forward *f = arg;
    size_t begin, end;

    pool_share(f->n, 1, part, parts, &begin, &end);
    prepare_rows(f, begin, end, f->prepared, f->limits.rows_max, normed_of(f, part));
}

static size_t product_rows(const struct forward *f, const struct stage *s, size_t i)
{
    return weight(f, f->layer_now, &s->linear[i])->shape[1];
}

static size_t grains_of(const struct stage *s, size_t rows)
{
    return (rows + s->grain - 1) / s->grain;
}

/* The columns of each product that fall to a part, and how many grains these are.  Products that
 * are combined element by element are split alike; others lie end to end and are split as one,
 * which balances few heads better. */
static size_t share_columns(const struct forward *f, const struct stage *s, unsigned part,
                            unsigned parts, struct span own[STAGE_LINEARS_MAX])
{
    size_t products = s->alike ? 1 : s->linear_count, total = 0, before = 0, begin, end;

    for (size_t i = 0; i < products; i++)
        total += grains_of(s, product_rows(f, s, i));
    shares_cut(f->speeds_now, part, parts, total, &begin, &end);
    for (size_t i = 0; i < s->linear_count; i++) {
        size_t rows = product_rows(f, s, i);
        size_t b = (begin > before ? begin - before : 0) * s->grain;
        size_t e = (end > before ? end - before : 0) * s->grain;

        own[i] = (struct span){b < rows ? b : rows, e < rows ? e : rows};
        before += s->alike ? 0 : grains_of(s, rows);
    }
    return end - begin;
}

static struct span columns_of(const struct stage *s, const struct span *own, enum arch_slot slot)
{
    for (size_t i = 0; i < s->linear_count; i++)
        if (s->linear[i].out == slot)
            return own[i];
    return (struct span){0, 0};
}

/* How many rows from t on follow each other in one page. */
static size_t rows_of_page(const struct forward *f, size_t t)
{
    size_t n = 1, room = KV_PAGE_TOKENS - f->rows[t].position % KV_PAGE_TOKENS;

    while (n < room && t + n < f->n && forward_row_follows(&f->rows[t + n], &f->rows[t + n - 1]))
        n++;
    return n;
}

static void store_head(struct forward *f, enum arch_slot slot, uint32_t head, bool is_value)
{
    size_t head_dim = f->h->head_dim, n;

    for (size_t t = 0; t < f->n; t += n) {
        const struct forward_row *row = &f->rows[t];
        size_t at = row->position % KV_PAGE_TOKENS;
        void *run =
            kv_at(f->kv, row->pages[row->position / KV_PAGE_TOKENS], f->layer_now, is_value, head);

        n = rows_of_page(f, t);
        (is_value ? f->backend->store_values
                  : f->backend->store_keys)(f->kv->type, forward_slot(f, slot, t) + head * head_dim,
                                            f->slot_stride[slot], n, head_dim, run, at);
    }
}

static void store_heads(struct forward *f, enum arch_slot slot, struct span c, bool is_value)
{
    size_t head_dim = f->h->head_dim;

    for (size_t head = c.begin / head_dim; head * head_dim < c.end; head++)
        store_head(f, slot, (uint32_t)head, is_value);
}

static void local_op(struct forward *f, const struct arch_op *op, const struct span *own)
{
    const struct stage *s = f->stage_now;
    struct span c = columns_of(s, own, op->kind == OP_ADD ? op->a : op->out);

    if (op->kind == OP_STORE) {
        store_heads(f, op->a, columns_of(s, own, op->a), false);
        store_heads(f, op->b, columns_of(s, own, op->b), true);
        return;
    }
    for (size_t t = 0; t < f->n && c.begin < c.end; t++)
        do_columns(f, op, t, c);
}

static void store_part(void *arg, unsigned part, unsigned parts)
{
    struct forward *f = arg;
    const struct arch_op *op = f->stage_now->linear;
    struct span c;

    pool_share((size_t)f->h->n_head_kv * f->h->head_dim, f->h->head_dim, part, parts, &c.begin,
               &c.end);
    store_heads(f, op->a, c, false);
    store_heads(f, op->b, c, true);
}

/* Does a GLU leave its vectors as the next stage's product wants them, in its own slot? */
static bool prepares_glu(const struct forward *f)
{
    const struct stage *s = f->stage_now;
    const struct backend *b = f->backend;
    const struct tensor *gate, *up, *down;
    size_t room;

    if (!s->feeds_next || !b->matmul_swiglu_prepared || f->h->activation != ACTIVATION_SILU ||
        f->observer)
        return false;
    gate = weight(f, f->layer_now, &s->linear[0]);
    up = weight(f, f->layer_now, &s->linear[1]);
    down = weight(f, f->layer_now, &s[1].linear[0]);
    room = f->slot_stride[s->local->out] * sizeof(float);
    return b->prepared_bytes(down->type, gate->shape[1]) <= room &&
           b->matmul_swiglu_prepared(gate, up, 0, 0, NULL, 0, down->type, NULL);
}

/* Both products and what is made of them at once; false if they had better be made in turn. */
static bool multiply_glu(const struct forward *f, struct span own, const char *prepared)
{
    const struct stage *s = f->stage_now;
    const struct backend *b = f->backend;
    const struct tensor *gate, *up;

    if (!s->is_glu || !b->matmul_swiglu || f->h->activation != ACTIVATION_SILU)
        return false;
    gate = weight(f, f->layer_now, &s->linear[0]);
    up = weight(f, f->layer_now, &s->linear[1]);
    if (f->makes_prepared)
        return b->matmul_swiglu_prepared(gate, up, own.begin, own.end, prepared, f->n,
                                         weight(f, f->layer_now, &s[1].linear[0])->type,
                                         f->slots[s->local->out]);
    return b->matmul_swiglu(gate, up, own.begin, own.end, prepared, f->n, f->slots[s->local->out],
                            f->slot_stride[s->local->out]);
}

/* Products of own columns, and what is made of them. */
static void multiply_own(struct forward *f, const struct span own[STAGE_LINEARS_MAX],
                         const char *prepared, size_t room)
{
    const struct stage *s = f->stage_now;
    size_t form[STAGE_LINEARS_MAX];
    enum dtype type[STAGE_LINEARS_MAX];

    if (multiply_glu(f, own[0], prepared))
        return;
    stage_forms(f, s, f->layer_now, form, type);
    for (size_t i = 0; i < s->linear_count; i++)
        if (own[i].begin < own[i].end)
            f->backend->matmul(weight(f, f->layer_now, &s->linear[i]), own[i].begin, own[i].end,
                               prepared + form[i] * room * f->prepared_bytes, f->n,
                               f->slots[s->linear[i].out], f->slot_stride[s->linear[i].out]);
    for (size_t i = 0; i < s->local_count; i++)
        local_op(f, &s->local[i], own);
}

static void linear_part(void *arg, unsigned part, unsigned parts)
{
    struct forward *f = arg;
    bool is_private = f->n <= f->private_rows && !f->is_prepared;
    size_t room = is_private ? f->private_rows : f->limits.rows_max;
    char *prepared = f->is_prepared ? (char *)f->slots[f->stage_now->source] : f->prepared;
    struct span own[STAGE_LINEARS_MAX];

    if (is_private) {
        prepared = f->prepared_private + part * room * f->forms_max * f->prepared_bytes;
        prepare_rows(f, 0, f->n, prepared, room, normed_of(f, part));
    }
    f->done[part].items = share_columns(f, f->stage_now, part, parts, own);
    multiply_own(f, own, prepared, room);
    f->done[part].end = clock_ticks();
}

static void multiply_in_parts(struct forward *f)
{
    uint64_t start;

    f->is_prepared = f->makes_prepared;
    f->makes_prepared = prepares_glu(f);
    if (f->n > f->private_rows && !f->is_prepared)
        pool_run(f->pool, prepare_part, f);
    start = clock_ticks();
    pool_run(f->pool, linear_part, f);
    if (f->limits.threads > 1)
        shares_learn(f->speeds_now, f->done, f->limits.threads, start);
}

static void text_part(void *arg, unsigned part, unsigned parts)
{
    struct forward *f = arg;
    const struct arch_op *op = f->stage_now->linear;
    struct textattend_run run = {
        .q = f->slots[SLOT_Q],
        .k = f->slots[op->a],
        .v = f->slots[op->b],
        .out = f->slots[op->out],
        .q_stride = f->slot_stride[SLOT_Q],
        .k_stride = f->slot_stride[op->a],
        .v_stride = f->slot_stride[op->b],
        .out_stride = f->slot_stride[op->out],
        .reach = hparams_has_window(f->h, f->layer_now) ? f->h->window / 2 : TEXTATTEND_ALL,
    };

    textattend_compute(&f->textattend, &run, part, parts);
}

/* --- a run --- */

/* Behind the last store only rows whose logits are wanted matter: they move together. */
static void keep_wanted_rows(struct forward *f)
{
    size_t kept = 0;

    for (size_t t = 0; t < f->n; t++) {
        if (!f->rows[t].wants_logits)
            continue;
        for (int i = 0; i < SLOT_COUNT && kept != t; i++)
            if (i != SLOT_LOGITS && f->slot_stride[i])
                memcpy(forward_slot(f, (enum arch_slot)i, kept),
                       forward_slot(f, (enum arch_slot)i, t), f->slot_stride[i] * sizeof(float));
        f->rows[kept++] = f->rows[t];
    }
    f->n = kept;
    if (!f->sees_text)
        attend_plan(f);
}

/* What the products of a stage are made of, for the observer. */
static void show_inputs(struct forward *f)
{
    const struct stage *s = f->stage_now;

    for (size_t t = 0; t < f->n; t++) {
        const float *x = forward_slot(f, s->source, t);

        if (s->norm) {
            normalise(f, s->norm, x, normed_of(f, 0));
            x = normed_of(f, 0);
        }
        for (size_t i = 0; i < s->linear_count; i++)
            f->observer(f->observer_arg, weight(f, f->layer_now, &s->linear[i]), x);
    }
}

static void run_stage(struct forward *f, const struct stage *s, uint32_t layer)
{
    f->stage_now = s;
    f->layer_now = layer;
    f->rope_now = ropes_of(f->h) > 1 && hparams_has_window(f->h, layer);
    switch (s->kind) {
    case STAGE_ROWS:
        if (f->n <= PRIVATE_ROWS)
            rows_part(f, 0, 1);
        else
            pool_run(f->pool, rows_part, f);
        break;
    case STAGE_LINEAR:
        if (f->observer)
            show_inputs(f);
        multiply_in_parts(f);
        break;
    case STAGE_STORE:
        pool_run(f->pool, store_part, f);
        break;
    case STAGE_EXPERTS:
        experts_compute(&f->experts, f->pool,
                        &(struct experts_run){.backend = f->backend,
                                              .layer = layer,
                                              .n = f->n,
                                              .x = f->slots[s->linear->a],
                                              .x_stride = f->slot_stride[s->linear->a],
                                              .out = f->slots[s->linear->out],
                                              .out_stride = f->slot_stride[s->linear->out]});
        break;
    case STAGE_TEXT:
        pool_run(f->pool, text_part, f);
        break;
    case STAGE_ATTEND:
        pool_run(f->pool, attend_part, f);
        if (f->head_partials)
            pool_run(f->pool, attend_join_part, f);
        break;
    }
}

/* Where products wait for memory, a thread's speed depends on where its part of the weights lies,
 * so each layer has its own; else what is learned in one layer holds for all. */
static float *speeds_of(const struct forward *f, const struct stages *stages, uint32_t layer,
                        size_t i)
{
    size_t set = stages->first + i + (f->n <= FEW_ROWS ? layer * stages->count : f->stages);

    return f->speeds + set * f->limits.threads;
}

static void run_stages(struct forward *f, const struct stages *stages, uint32_t layer, bool is_last)
{
    for (size_t i = 0; i < stages->count && f->n > 0; i++) {
        f->speeds_now = speeds_of(f, stages, layer, i);
        run_stage(f, &stages->at[i], layer);
        if (is_last && (stages->at[i].stores || stages->at[i].kind == STAGE_TEXT))
            keep_wanted_rows(f);
    }
}

/* Which rows are a text. */
static void plan_texts(struct forward *f)
{
    size_t end;

    textattend_begin(&f->textattend);
    for (size_t t = 0; t < f->n; t = end) {
        for (end = t + 1; end < f->n && f->rows[end].position > 0; end++)
            ;
        textattend_add(&f->textattend, end - t);
    }
}

static bool goes_on(const struct forward *f)
{
    return !f->goes_on || f->goes_on(f->goes_on_arg);
}

static bool run(struct forward *f, struct forward_row *rows, size_t n, enum forward_kind kind)
{
    assert(n <= f->limits.rows_max);
    f->rows = rows;
    f->n = n;
    f->backend = backend_for(f->prompts, kind == FORWARD_GENERATED);
    if (f->sees_text)
        plan_texts(f);
    else
        attend_plan(f);
    run_stages(f, &f->before, 0, false);
    for (uint32_t l = 0; l < f->h->n_layer; l++) {
        if (!goes_on(f))
            return false;
        run_stages(f, &f->layer, l, l + 1 == f->h->n_layer);
    }
    assert(f->limits.head || f->logits_from + f->n <= f->limits.logits_max);
    run_stages(f, &f->after, 0, false);
    return true;
}

bool forward_run(struct forward *f, struct forward_row *rows, size_t n, enum forward_kind kind)
{
    f->logits_from = 0;
    return run(f, rows, n, kind);
}

bool forward_run_too(struct forward *f, struct forward_row *rows, size_t n, enum forward_kind kind)
{
    float *logits = f->slots[SLOT_LOGITS];
    bool done;

    f->logits_from += f->n;
    f->slots[SLOT_LOGITS] = logits + f->logits_from * f->slot_stride[SLOT_LOGITS];
    done = run(f, rows, n, kind);
    f->slots[SLOT_LOGITS] = logits;
    return done;
}

const float *forward_logits(const struct forward *f, size_t i)
{
    return f->slots[SLOT_LOGITS] + i * f->slot_stride[SLOT_LOGITS];
}

const float *forward_vector(const struct forward *f, size_t i)
{
    return forward_slot(f, f->end, i);
}

float *forward_head_row(struct forward *f, size_t i)
{
    return forward_slot(f, SLOT_P, i);
}

void forward_head(struct forward *f, size_t n)
{
    assert(n <= f->limits.logits_max && n <= f->limits.rows_max);
    f->n = n;
    run_stages(f, &f->head, 0, false);
}
