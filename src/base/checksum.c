/* SPDX-License-Identifier: Apache-2.0 */
/* checksum.c - see checksum.h */
#include "base/checksum.h"

#include <string.h>

#define AT_ONCE 4  /* grains: memory is then read as fast as one thread can */
#define PARTS   16 /* that a checksum is joined from at most */
/* Sums modulo 2^64 forget where upper bits were: these count among the lower ones too. */
#define HALF 32

typedef uint64_t lanes __attribute__((vector_size(CHECKSUM_GRAIN)));
_Static_assert(sizeof(lanes) == sizeof(uint64_t[CHECKSUM_LANES]), "a word a lane");

void checksum_add(struct checksum *c, const void *p, size_t bytes)
{
    const char *at = p, *end = at + bytes;
    lanes sum, sums, w[AT_ONCE];

    memcpy(&sum, c->sum, sizeof(sum));
    memcpy(&sums, c->sums, sizeof(sums));
    for (; (size_t)(end - at) >= sizeof(w); at += sizeof(w)) {
        memcpy(w, at, sizeof(w));
        for (unsigned i = 0; i < AT_ONCE; i++) {
            sum += w[i] ^ w[i] >> HALF;
            sums += sum;
        }
    }
    for (; at < end; at += sizeof(w[0])) {
        memcpy(w, at, sizeof(w[0]));
        sum += w[0] ^ w[0] >> HALF;
        sums += sum;
    }
    memcpy(c->sum, &sum, sizeof(sum));
    memcpy(c->sums, &sums, sizeof(sums));
}

void checksum_join(struct checksum *first, const struct checksum *second, size_t bytes)
{
    for (unsigned k = 0; k < CHECKSUM_LANES; k++) {
        first->sums[k] += bytes / CHECKSUM_GRAIN * first->sum[k] + second->sums[k];
        first->sum[k] += second->sum[k];
    }
}

struct job {
    const char *p;
    size_t bytes;
    struct checksum part[PARTS];
};

static void span_of(const struct job *j, unsigned part, unsigned parts, size_t *begin, size_t *end)
{
    pool_share(j->bytes, CHECKSUM_GRAIN, part, parts < PARTS ? parts : PARTS, begin, end);
}

static void add_part(void *arg, unsigned part, unsigned parts)
{
    struct job *j = arg;
    size_t begin, end;

    if (part >= PARTS)
        return;
    span_of(j, part, parts, &begin, &end);
    checksum_add(&j->part[part], j->p + begin, end - begin);
}

void checksum_of(struct checksum *c, const void *p, size_t bytes, struct pool *pool)
{
    unsigned parts = pool ? pool_threads(pool) : 1;
    struct job j = {.p = p, .bytes = bytes};

    if (pool)
        pool_run(pool, add_part, &j);
    else
        add_part(&j, 0, 1);
    memset(c, 0, sizeof(*c));
    for (unsigned i = 0; i < parts && i < PARTS; i++) {
        size_t begin, end;

        span_of(&j, i, parts, &begin, &end);
        checksum_join(c, &j.part[i], end - begin);
    }
}

uint64_t checksum_end(const struct checksum *c)
{
    uint64_t all = 1;

    for (unsigned k = 0; k < CHECKSUM_LANES; k++) {
        all = (all ^ c->sum[k]) * 0x9e3779b97f4a7c15u; /* 2^64 / the golden ratio: any odd number */
        all = (all ^ (all >> 32) ^ c->sums[k]) * 0x9e3779b97f4a7c15u;
    }
    return all ^ all >> 32;
}
