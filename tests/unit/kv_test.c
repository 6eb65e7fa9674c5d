/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/kv.h"

#include "base/mem.h"
#include "test.h"

static const struct hparams shape = {.n_layer = 3, .n_head_kv = 2, .head_dim = 16};

static void *kv_make(struct kv *kv, uint32_t pages)
{
    struct carve c = {0};

    kv_carve(kv, &shape, pages, &c);
    c = (struct carve){.at = mem_aligned(c.used)};
    kv_carve(kv, &shape, pages, &c);
    kv_reset(kv);
    return c.at;
}

TEST(kv_gives_every_page_once_and_then_none)
{
    struct kv kv;
    void *block = kv_make(&kv, 5);
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
    struct kv kv;
    void *block = kv_make(&kv, 2);
    uint32_t a = kv_take(&kv), b = kv_take(&kv), again;

    memset(kv_at(&kv, a, 0, false, 0), 0x5a, kv_page_bytes(&shape));
    memset(kv_at(&kv, b, 0, false, 0), 0x77, kv_page_bytes(&shape));
    kv_give(&kv, a);
    again = kv_take(&kv);
    CHECK_INT(again, a);
    for (size_t i = 0; i < kv.page_elements; i++) {
        CHECK_INT(kv_at(&kv, a, 0, false, 0)[i], 0);
        CHECK_INT(kv_at(&kv, b, 0, false, 0)[i], 0x7777); /* the neighbour's stays */
    }
    mem_free(block);
}

TEST(kv_heads_of_a_page_fill_it_without_overlap)
{
    struct kv kv;
    void *block = kv_make(&kv, 3);
    size_t run = KV_PAGE_TOKENS * shape.head_dim;

    for (uint32_t page = 0; page < 3; page++)
        for (uint32_t i = 0; i < 3 * 2 * 2; i++) {
            uint16_t *head = kv_at(&kv, page, i / 4, i / 2 % 2, i % 2);

            for (size_t k = 0; k < run; k++)
                CHECK_INT(head[k]++, 0);
        }
    for (size_t i = 0; i < 3 * kv.page_elements; i++)
        CHECK_INT(kv.data[i], 1);
    CHECK_INT(kv_page_bytes(&shape), 2 * 3 * 2 * 16 * 64 * 2);
    mem_free(block);
}

TEST(kv_copies_the_first_positions_and_no_more)
{
    struct kv kv;
    void *block = kv_make(&kv, 2);

    for (uint32_t count = 0; count <= KV_PAGE_TOKENS; count += 7) {
        memset(kv_at(&kv, 0, 0, false, 0), 0x5a, kv_page_bytes(&shape));
        memset(kv_at(&kv, 1, 0, false, 0), 0x77, kv_page_bytes(&shape));
        kv_copy(&kv, 1, 0, count);
        for (uint32_t i = 0; i < 3 * 2 * 2; i++) {
            const uint16_t *head = kv_at(&kv, 1, i / 4, i / 2 % 2, i % 2);

            for (size_t k = 0; k < KV_PAGE_TOKENS * shape.head_dim; k++) {
                bool is_key = i / 2 % 2 == 0;
                size_t position = is_key ? k % KV_PAGE_TOKENS : k / shape.head_dim;

                CHECK_INT(head[k], position < count ? 0x5a5a : 0x7777);
            }
        }
    }
    mem_free(block);
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
