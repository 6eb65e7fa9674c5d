/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/kv.h"

#include "base/mem.h"
#include "test.h"

#include <string.h>

/* The last group of four dimensions and the last block of 32 are not full. */
static const struct hparams shape = {.n_layer = 3, .n_head_kv = 2, .head_dim = 42};
static const enum dtype types[] = {DTYPE_F16, DTYPE_Q8_0};
#define RUNS (3 * 2 * 2)

static void *kv_make(struct kv *kv, enum dtype type, uint32_t pages)
{
    struct carve c = {0};

    kv_carve(kv, &shape, type, pages, &c);
    c = (struct carve){.at = mem_aligned(c.used)};
    kv_carve(kv, &shape, type, pages, &c);
    kv_reset(kv);
    return c.at;
}

TEST(kv_gives_every_page_once_and_then_none)
{
    struct kv kv;
    void *block = kv_make(&kv, DTYPE_F16, 5);
    bool taken[5] = {false};

    for (int i = 0; i < 5; i++) {
        uint32_t page = kv_take(&kv);

        CHECK(page < 5 && !taken[page]);
        taken[page] = true;
    }
    CHECK(kv_take(&kv) == KV_NO_PAGE);
    kv_give(&kv, 3);
    CHECK_INT(kv.free_count, 1);
    CHECK_INT(kv_take(&kv), 3);
    mem_free(block);
}

TEST(kv_wipes_a_page_before_somebody_else_gets_it)
{
    for (size_t t = 0; t < 2; t++) {
        struct kv kv;
        void *block = kv_make(&kv, types[t], 2);
        uint32_t a = kv_take(&kv), b = kv_take(&kv);
        size_t bytes = kv_page_bytes(&shape, types[t]);

        memset(kv_at(&kv, a, 0, false, 0), 0x5a, bytes);
        memset(kv_at(&kv, b, 0, false, 0), 0x77, bytes);
        kv_give(&kv, a);
        CHECK_INT(kv_take(&kv), a);
        for (size_t i = 0; i < bytes; i++) {
            CHECK_INT(((char *)kv_at(&kv, a, 0, false, 0))[i], 0);
            CHECK_INT(((char *)kv_at(&kv, b, 0, false, 0))[i], 0x77); /* the neighbour's stays */
        }
        mem_free(block);
    }
}

TEST(kv_heads_of_a_page_fill_it_without_overlap)
{
    for (size_t t = 0; t < 2; t++) {
        struct kv kv;
        void *block = kv_make(&kv, types[t], 3);
        size_t bytes = kv_page_bytes(&shape, types[t]);

        memset(kv.data, 0, 3 * bytes);
        for (uint32_t page = 0; page < 3; page++) {
            for (uint32_t i = 0; i < RUNS; i++) {
                char *head = kv_at(&kv, page, i / 4, i / 2 % 2, i % 2);

                for (size_t k = 0; k < bytes / RUNS; k++)
                    CHECK_INT(head[k]++, 0);
            }
        }
        for (size_t i = 0; i < 3 * bytes; i++)
            CHECK_INT(kv.data[i], 1);
        mem_free(block);
    }
    CHECK_INT(kv_page_bytes(&shape, DTYPE_F16), RUNS * 42 * 64 * 2);
    CHECK_INT(kv_page_bytes(&shape, DTYPE_Q8_0), RUNS * (44 + 2 * 2) * 64);
}

static void store(const struct kv *kv, uint32_t page, float salt)
{
    float x[KV_PAGE_TOKENS * 42];

    for (uint32_t i = 0; i < RUNS; i++) {
        bool is_value = i / 2 % 2;

        for (size_t k = 0; k < KV_PAGE_TOKENS * 42; k++)
            x[k] = salt + (float)(k * 31 % 997) + (float)i;
        (is_value ? backend_ref.store_values : backend_ref.store_keys)(
            kv->type, x, 42, KV_PAGE_TOKENS, 42, kv_at(kv, page, i / 4, is_value, i % 2), 0);
    }
}

/* Scores and values of every head, from a query at each position. */
static void attend(const struct kv *kv, uint32_t page, size_t first, float *out)
{
    float q[42];

    for (size_t k = 0; k < 42; k++)
        q[k] = (float)k * 1e-5f;
    for (uint32_t i = 0; i < RUNS / 2; i++) {
        const void *k = kv_at(kv, page, i / 2, false, i % 2),
                   *v = kv_at(kv, page, i / 2, true, i % 2);
        struct attention a = {.q = q,
                              .out = out + i * 42,
                              .first = first,
                              .positions = 1,
                              .heads = 1,
                              .head_dim = 42,
                              .type = kv->type,
                              .k_pages = &k,
                              .v_pages = &v,
                              .scale = 1};

        backend_ref.attend(&a);
    }
}

TEST(kv_copies_the_first_positions_and_no_more)
{
    for (size_t t = 0; t < 2; t++) {
        struct kv kv;
        void *block = kv_make(&kv, types[t], 3);
        size_t bytes = kv_page_bytes(&shape, types[t]);

        for (uint32_t count = 1; count <= KV_PAGE_TOKENS; count += 7) {
            float expected[RUNS / 2 * 42], out[RUNS / 2 * 42];
            size_t changed = 0;

            store(&kv, 0, 1);
            store(&kv, 1, 2000);
            memcpy(kv_at(&kv, 2, 0, false, 0), kv_at(&kv, 1, 0, false, 0), bytes);
            kv_copy(&kv, 1, 0, count);
            attend(&kv, 0, count - 1, expected); /* sees exactly what was to be copied */
            attend(&kv, 1, count - 1, out);
            CHECK(memcmp(out, expected, sizeof(out)) == 0);
            /* Copied back over, nothing but that has changed. */
            kv_copy(&kv, 1, 2, count);
            for (size_t i = 0; i < bytes; i++)
                changed += kv.data[bytes + i] != kv.data[2 * bytes + i];
            CHECK_INT(changed, 0);
        }
        mem_free(block);
    }
}

TEST(kv_counts_pages_by_their_beginnings)
{
    CHECK_INT(kv_pages_for(0), 0);
    CHECK_INT(kv_pages_for(1), 1);
    CHECK_INT(kv_pages_for(64), 1);
    CHECK_INT(kv_pages_for(65), 2);
}

TEST(carve_measures_what_it_cuts_and_notices_overflow)
{
    struct carve measure = {0}, cut = {.at = NULL};
    char *block;

    CHECK(carve_bytes(&measure, 3, 5) == NULL);
    CHECK(carve_array(&measure, double, 9) == NULL);
    CHECK_INT(measure.used, 64 + 128);
    cut.at = block = mem_aligned(measure.used);
    CHECK(carve_bytes(&cut, 3, 5) == block);
    CHECK((char *)carve_array(&cut, double, 9) == block + 64);
    CHECK(!cut.overflow);
    CHECK(carve_bytes(&cut, SIZE_MAX / 2, 3) == NULL);
    CHECK(cut.overflow);
    measure = (struct carve){.used = 64};
    carve_bytes(&measure, SIZE_MAX - 100, 1);
    CHECK(measure.overflow);
    mem_free(block);
}
