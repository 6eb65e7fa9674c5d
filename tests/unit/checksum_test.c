/* SPDX-License-Identifier: Apache-2.0 */
/* A checksum says the same however bytes are cut and shared, and something else when one changes.
 */
#include "test.h"

#include "base/checksum.h"

#define BYTES (64 * 1001)

static char bytes[BYTES];

static void fill(void)
{
    uint32_t state = 7;

    for (size_t i = 0; i < BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (char)(state >> 24);
    }
}

/* As the header says it, a word at a time. */
static uint64_t by_words(void)
{
    struct checksum c = {0};

    for (size_t i = 0; i < BYTES / 8; i++) {
        uint64_t word;

        memcpy(&word, bytes + 8 * i, 8);
        c.sum[i % CHECKSUM_LANES] += word ^ word >> 32;
        c.sums[i % CHECKSUM_LANES] += c.sum[i % CHECKSUM_LANES];
    }
    return checksum_end(&c);
}

TEST(pieces_add_up_to_the_whole)
{
    static const size_t cuts[] = {0, 64, 128, 192, 256, 320, 64 * 500, BYTES};

    fill();
    for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
        struct checksum one = {0}, first = {0}, second = {0};

        checksum_add(&one, bytes, cuts[i]);
        checksum_add(&one, bytes + cuts[i], BYTES - cuts[i]);
        CHECK(checksum_end(&one) == by_words());
        checksum_add(&first, bytes, cuts[i]);
        checksum_add(&second, bytes + cuts[i], BYTES - cuts[i]);
        checksum_join(&first, &second, BYTES - cuts[i]);
        CHECK(checksum_end(&first) == by_words());
    }
}

TEST(any_number_of_threads_finds_the_same)
{
    fill();
    for (unsigned threads = 0; threads <= 20; threads++) {
        struct pool *pool = NULL;
        struct checksum c;

        if (threads)
            CHECK_INT(pool_create(&pool, threads, NULL), 0);
        checksum_of(&c, bytes, BYTES, pool);
        CHECK(checksum_end(&c) == by_words());
        checksum_of(&c, bytes, 0, pool);
        CHECK(checksum_end(&c) == checksum_end(&(struct checksum){0}));
        pool_destroy(pool);
    }
}

static uint64_t by_library(void)
{
    struct checksum c;

    checksum_of(&c, bytes, BYTES, NULL);
    return checksum_end(&c);
}

TEST(changed_bytes_and_changed_places_show)
{
    uint64_t right;

    fill();
    right = by_library();
    for (size_t i = 0; i < BYTES; i += 97) {
        bytes[i] ^= 1 << i % 8;
        CHECK(by_library() != right);
        bytes[i] ^= 1 << i % 8;
    }
    for (size_t i = 0; i < 64; i++) { /* two lines change places */
        char c = bytes[i];

        bytes[i] = bytes[640 + i];
        bytes[640 + i] = c;
    }
    CHECK(by_library() != right);
}

/* What sums of words modulo 2^64 would not tell: differences that add up to nothing, as far apart
 * as upper bits forget. */
TEST(changes_that_cancel_show)
{
    uint64_t right;

    fill();
    for (size_t byte = 0; byte < 64; byte++) {
        for (size_t apart = 64; byte + apart < BYTES; apart *= 2) {
            char *a = &bytes[byte], *b = &bytes[byte + apart];

            *a = 0x34;
            *b = 0x12;
            right = by_library();
            *a -= 1;
            *b += 1;
            CHECK(by_library() != right);
            *a ^= (char)0x80;
            *b ^= (char)0x80;
            CHECK(by_library() != right);
            *a += 1;
            *b -= 1;
            CHECK(by_library() != right);
        }
    }
}
