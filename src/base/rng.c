/* SPDX-License-Identifier: Apache-2.0 */
/* rng.c - see rng.h */
#include "base/rng.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        r->s[i] = splitmix(&seed);
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    uint64_t uneven =
        (0 - bound) % bound; /* 2^64 mod bound: values below it would come too often */
    uint64_t x;

    do
        x = rng_u64(r);
    while (x < uneven);
    return x % bound;
}

double rng_normal(struct rng *r)
{
    double u, v, s;

    /* The second value of the pair is thrown away: keeping it would be hidden state. */
    do {
        u = 2 * rng_uniform(r) - 1;
        v = 2 * rng_uniform(r) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    return u * sqrt(-2 * log(s) / s);
}

void csprng_init(struct csprng *c)
{
    c->left = 0;
}

static int refill(struct csprng *c, struct llmos_error *err)
{
    ssize_t got;

    do
        got = getrandom(c->bytes, sizeof(c->bytes), 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return fail_errno(err, "cannot get random bytes from the kernel");
    if (got != sizeof(c->bytes)) /* up to 256 bytes come whole: random(7) */
        return fail(err, LLMOS_EIO, "the kernel gave %zd random bytes of %zu", got,
                    sizeof(c->bytes));
    c->left = sizeof(c->bytes);
    return 0;
}

int csprng_fill(struct csprng *c, void *out, size_t n, struct llmos_error *err)
{
    unsigned char *to = out;

    while (n > 0) {
        size_t part;
        int rc = c->left ? 0 : refill(c, err);

        if (rc < 0)
            return rc;
        part = n < c->left ? n : c->left;
        memcpy(to, c->bytes + c->left - part, part);
        explicit_bzero(c->bytes + c->left - part, part);
        c->left -= part;
        to += part;
        n -= part;
    }
    return 0;
}

void csprng_fini(struct csprng *c)
{
    explicit_bzero(c, sizeof(*c));
}
