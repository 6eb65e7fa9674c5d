/* SPDX-License-Identifier: Apache-2.0 */
/* forward_test.c - what a family's table becomes: each operation once, in as few stages as may be;
 * and that what threads have learned of their speeds moves work, but no bit. */
#include "infer/forward.h"

#include "test.h"
#include "tiny_llama.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tensor/backend.h"

static struct tiny_llama model;

/* Stages point into f. */
static void plan(struct forward *f)
{
    static const struct forward_limits limits = {
        .threads = 2, .rows_max = 8, .logits_max = 1, .context_tokens = 64};
    struct carve measure = {0};

    forward_carve(f, &model.model.hparams, &model.model.weights, &arch_llama, backend_best(),
                  &limits, &measure);
}

/* Of the operations between products. */
static size_t count_of(const struct stages *s, enum arch_op_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->at[i].local_count; k++)
            n += s->at[i].local[k].kind == kind;
    return n;
}

/* Threads meet after each stage.  The table has a GLU for shared experts too, which this model has
 * not. */
TEST(a_layer_of_llama_has_five_stages_and_one_glu)
{
    struct forward f;

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 1);
    plan(&f);
    CHECK_INT(f.layer.count, 5);
    CHECK_INT(f.layer.at[0].kind, STAGE_LINEAR);
    CHECK_INT(f.layer.at[0].linear_count, 3);
    CHECK_INT(f.layer.at[1].kind, STAGE_ATTEND);
    CHECK_INT(f.layer.at[3].linear_count, 2);
    CHECK(f.layer.at[3].is_glu);
    CHECK(f.layer.at[3].feeds_next);
    CHECK_INT(count_of(&f.layer, OP_GLU), 1);
    CHECK_INT(count_of(&f.layer, OP_ADD), 2);
    tiny_llama_fini(&model);
}

/* What is faster for prompts in some types is used where layers are of these. */
TEST(layers_of_super_blocks_have_kernels_for_prompts_where_there_are_some)
{
    static struct tiny_llama other;
    const struct backend *best = backend_best(), *prompts = best->prompts ? best->prompts : best;
    struct hparams wide = tiny_hparams;

    wide.n_embd = wide.n_ff = 256;
    wide.head_dim = wide.rope_dims = 64;
    tiny_llama_init(&model, &wide, DTYPE_Q4_K, NULL, 1);
    tiny_llama_init(&other, &wide, DTYPE_Q8_0, NULL, 1);
    CHECK(forward_backend(&wide, &model.model.weights) == prompts);
    CHECK(backend_for(prompts, true) == backend_for(best, true));
    CHECK(forward_backend(&wide, &other.model.weights) == best);
    other.model.weights.model[WEIGHT_OUTPUT] = model.model.weights.model[WEIGHT_OUTPUT];
    CHECK(forward_backend(&wide, &other.model.weights) == best);
    tiny_llama_fini(&other);
    tiny_llama_fini(&model);
}

#define ROWS_MAX   80
#define THREADS    3
#define VOCABULARY 101

/* Odd numbers of grains: 15 heads, 9 pieces of 32 columns, and 352 is no multiple of 64. */
static struct hparams uneven_hparams(void)
{
    struct hparams h = tiny_hparams;

    h.n_embd = 288;
    h.n_ff = 352;
    h.n_vocab = VOCABULARY;
    h.n_head = 9;
    h.n_head_kv = 3;
    h.head_dim = h.rope_dims = 32;
    h.n_ctx_train = h.rope_ctx_orig = ROWS_MAX;
    return h;
}

struct bench {
    struct forward f;
    struct kv kv;
    struct pool *pool;
    void *block;
    uint32_t pages[2];
    float logits[VOCABULARY];
};

static void cut(struct bench *b, struct carve *c)
{
    const struct forward_limits limits = {
        .threads = THREADS, .rows_max = ROWS_MAX, .logits_max = 1, .context_tokens = ROWS_MAX};

    kv_carve(&b->kv, &model.model.hparams, DTYPE_F16, 2, c);
    forward_carve(&b->f, &model.model.hparams, &model.model.weights, &arch_llama, backend_best(),
                  &limits, c);
}

static void set_up(struct bench *b, enum dtype type)
{
    const struct hparams h = uneven_hparams();
    struct carve c = {0};

    tiny_llama_init(&model, &h, type, NULL, 1);
    cut(b, &c);
    b->block = mem_zalloc(1, c.used + 64);
    c = (struct carve){.at = (char *)(((uintptr_t)b->block + 63) / 64 * 64)};
    cut(b, &c);
    CHECK_INT(pool_create(&b->pool, THREADS, NULL), 0);
    forward_init(&b->f, b->pool, &b->kv);
}

static void tear_down(struct bench *b)
{
    pool_destroy(b->pool);
    mem_free(b->block);
    tiny_llama_fini(&model);
}

/* n tokens, then one more that was generated. */
static void run(struct bench *b, size_t n)
{
    struct forward_row rows[ROWS_MAX];

    kv_reset(&b->kv);
    for (unsigned i = 0; i < 2; i++)
        b->pages[i] = kv_take(&b->kv);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct forward_row){
            .token = (int32_t)(i * 7 % VOCABULARY), .position = (uint32_t)i, .pages = b->pages};
    CHECK(forward_run(&b->f, rows, n, FORWARD_PROMPT));
    rows[0] = (struct forward_row){
        .token = 5, .position = (uint32_t)n, .pages = b->pages, .wants_logits = true};
    CHECK(forward_run(&b->f, rows, 1, FORWARD_GENERATED));
}

static void set_speeds(struct bench *b, struct rng *rng)
{
    for (size_t i = 0; i < 2 * b->f.stages * THREADS; i++)
        b->f.speeds[i] = 0.05f + (float)rng_below(rng, 100) * 0.03f;
}

static void check_uneven_shares(enum dtype type)
{
    static const size_t prompts[] = {1, 3, 17, ROWS_MAX - 1};
    struct bench b = {0};
    struct rng rng;

    set_up(&b, type);
    rng_seed(&rng, type);
    for (size_t i = 0; i < sizeof(prompts) / sizeof(prompts[0]); i++) {
        run(&b, prompts[i]);
        memcpy(b.logits, forward_logits(&b.f, 0), sizeof(b.logits));
        for (int round = 0; round < 8; round++) {
            set_speeds(&b, &rng);
            run(&b, prompts[i]);
            CHECK(memcmp(b.logits, forward_logits(&b.f, 0), sizeof(b.logits)) == 0);
        }
    }
    tear_down(&b);
}

TEST(shares_move_no_bit)
{
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        check_uneven_shares(types[i]);
}

/* What was measured changes who does what next. */
TEST(speeds_are_learned)
{
    struct bench b = {0};
    bool has_changed = false;

    set_up(&b, DTYPE_Q8_0);
    run(&b, 17);
    for (size_t i = 0; i < 2 * b.f.stages * THREADS; i++)
        has_changed = has_changed || b.f.speeds[i] != 1;
    CHECK(has_changed);
    tear_down(&b);
}
