/* SPDX-License-Identifier: Apache-2.0 */
/* sampler.c - see sampler.h */
#include "infer/sampler.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define REPEAT_LAST_DEFAULT 64
#define BIAS_BANS           (-100.0f)

/* --- options --- */

static int check_range(const char *name, float value, float low, float high,
                       struct llmos_error *err)
{
    if (value >= low && value <= high) /* false for NaN */
        return 0;
    return fail(err, LLMOS_EINVAL, "%s is %g, it must be between %g and %g", name, (double)value,
                (double)low, (double)high);
}

static bool is_banned(const struct llmos_sampling *o, size_t token)
{
    for (size_t i = 0; i < o->bias_count; i++)
        if ((size_t)o->bias[i].token == token && o->bias[i].bias <= BIAS_BANS)
            return true;
    return false;
}

static int check_bias(const struct llmos_sampling *o, size_t n_vocab, struct llmos_error *err)
{
    if (o->bias_count > LLMOS_BIAS_MAX)
        return fail(err, LLMOS_EINVAL, "logit_bias has %zu entries, at most %d are accepted",
                    o->bias_count, LLMOS_BIAS_MAX);
    if (o->bias_count > 0 && !o->bias)
        return fail(err, LLMOS_EINVAL, "logit_bias has %zu entries and no list", o->bias_count);
    for (size_t i = 0; i < o->bias_count; i++) {
        if (o->bias[i].token < 0 || (size_t)o->bias[i].token >= n_vocab)
            return fail(err, LLMOS_EINVAL, "logit_bias names token %d, the vocabulary has %zu",
                        o->bias[i].token, n_vocab);
        if (!isfinite(o->bias[i].bias))
            return fail(err, LLMOS_EINVAL, "logit_bias of token %d is not a finite number",
                        o->bias[i].token);
    }
    for (size_t t = 0; t < n_vocab && o->bias_count >= n_vocab; t++)
        if (!is_banned(o, t))
            return 0;
    if (o->bias_count >= n_vocab)
        return fail(err, LLMOS_EINVAL, "logit_bias bans all %zu tokens", n_vocab);
    return 0;
}

int sampler_check(const struct llmos_sampling *o, size_t n_vocab, struct llmos_error *err)
{
    /* The ranges are wider than anything useful; beyond them is a mistake of the caller. */
    const struct {
        const char *name;
        float value, low, high;
    } ranges[] = {
        {"temperature", o->temperature, 0, 100},
        {"top_p", o->top_p, 0, 1},
        {"min_p", o->min_p, 0, 1},
        {"repeat_penalty", o->repeat_penalty, 0.01f, 100},
        {"presence_penalty", o->presence_penalty, -100, 100},
        {"frequency_penalty", o->frequency_penalty, -100, 100},
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        int rc = check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, err);
        if (rc < 0)
            return rc;
    }
    if (o->logprobs > LLMOS_LOGPROBS_MAX)
        return fail(err, LLMOS_EINVAL, "logprobs is %u, at most %d are reported", o->logprobs,
                    LLMOS_LOGPROBS_MAX);
    return check_bias(o, n_vocab, err);
}

/* --- the most likely, without sorting the rest --- */

/* Not a number: impossible.  Infinite: the largest number, so that differences exist. */
static float sane(float logit)
{
    if (isnan(logit))
        return -INFINITY;
    return logit > FLT_MAX ? FLT_MAX : logit;
}

static bool is_better(struct sampler_candidate a, struct sampler_candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

/* Restores the heap below i: every parent is worse than its children. */
static void sift(struct sampler_candidate *heap, size_t count, size_t i)
{
    for (;;) {
        size_t worst = i, left = 2 * i + 1;

        for (size_t child = left; child < left + 2 && child < count; child++)
            if (is_better(heap[worst], heap[child]))
                worst = child;
        if (worst == i)
            return;
        struct sampler_candidate c = heap[i];
        heap[i] = heap[worst];
        heap[worst] = c;
        i = worst;
    }
}

/* The k best of n, best first; fewer if fewer are possible.  A heap holds the best so far with the
 * worst of them on top: nearly all of a large vocabulary is dismissed by one comparison. */
static size_t select_best(const float *logits, size_t n, size_t k, struct sampler_candidate *best)
{
    size_t count = 0, left;

    for (size_t i = 0; i < n && k > 0; i++) {
        struct sampler_candidate c = {sane(logits[i]), (int32_t)i};

        if (c.logit == -INFINITY || (count == k && !is_better(c, best[0])))
            continue;
        if (count < k) {
            best[count++] = c;
            for (size_t j = k / 2; count == k && j-- > 0;)
                sift(best, count, j);
        } else {
            best[0] = c;
            sift(best, count, 0);
        }
    }
    for (size_t j = count / 2; count < k && j-- > 0;)
        sift(best, count, j);
    for (left = count; left > 1; left--) {
        struct sampler_candidate worst = best[0];
        best[0] = best[left - 1];
        best[left - 1] = worst;
        sift(best, left - 1, 0);
    }
    return count;
}

#define LANES 16 /* that a compiler turns into vectors, with or without wide ones */

/* The largest of n; -INFINITY if none is a number.  NaN is never larger. */
static float largest(const float *logits, size_t n)
{
    float most[LANES], all = -INFINITY;
    size_t i = 0;

    for (size_t k = 0; k < LANES; k++)
        most[k] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            most[k] = logits[i + k] > most[k] ? logits[i + k] : most[k];
    for (; i < n; i++)
        all = logits[i] > all ? logits[i] : all;
    for (size_t k = 0; k < LANES; k++)
        all = most[k] > all ? most[k] : all;
    return all;
}

/* The best one, -1 if none is possible. */
static int32_t select_one(const float *logits, size_t n)
{
    float most = sane(largest(logits, n));

    for (size_t i = 0; i < n && most > -INFINITY; i++)
        if (logits[i] >= most) /* infinity is as good as the largest number */
            return (int32_t)i;
    return -1;
}

/* --- what the model itself says --- */

/* Both relative to the largest logit: nothing overflows, and huge logits lose no digits. */
static double log_sum_exp(const float *logits, size_t n, float most)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += exp((double)sane(logits[i]) - (double)most);
    return log(sum);
}

static float logprob_of(float logit, float most, double log_sum)
{
    double p = (double)sane(logit) - (double)most - log_sum;

    return p < (double)-FLT_MAX ? -FLT_MAX : (float)p; /* JSON knows no infinity */
}

static void report_logprobs(const struct llmos_sampling *o, const float *logits, size_t n,
                            float most, struct sampler_candidate *scratch,
                            struct llmos_step_out *out)
{
    double log_sum;

    out->logprob = 0;
    out->top_count = 0;
    if (!o->want_logprob && o->logprobs == 0)
        return;
    log_sum = log_sum_exp(logits, n, most);
    out->logprob = logprob_of(logits[out->token], most, log_sum);
    out->top_count = (uint32_t)select_best(logits, n, o->logprobs < n ? o->logprobs : n, scratch);
    for (uint32_t i = 0; i < out->top_count; i++)
        out->top[i] = (struct llmos_token_logprob){scratch[i].token,
                                                   logprob_of(scratch[i].logit, most, log_sum)};
}

/* --- bias and penalties --- */

static void apply_bias(const struct llmos_sampling *o, float *logits)
{
    for (size_t i = 0; i < o->bias_count; i++) {
        float *logit = &logits[o->bias[i].token];
        *logit = o->bias[i].bias <= BIAS_BANS ? -INFINITY : sane(*logit) + o->bias[i].bias;
    }
}

/* Each token of the window once, however often it stands there. */
static void apply_repeat(const struct llmos_sampling *o, const struct sampler_history *h,
                         uint32_t *counts, float *logits)
{
    size_t last = o->repeat_last ? o->repeat_last : REPEAT_LAST_DEFAULT;
    size_t first = h->count > last ? h->count - last : 0;

    for (size_t i = first; i < h->count; i++) {
        float *logit = &logits[h->tokens[i]];

        if (counts[h->tokens[i]]++)
            continue;
        *logit = sane(*logit);
        *logit = *logit > 0 ? *logit / o->repeat_penalty : *logit * o->repeat_penalty;
    }
    for (size_t i = first; i < h->count; i++)
        counts[h->tokens[i]] = 0;
}

static void apply_presence_and_frequency(const struct llmos_sampling *o,
                                         const struct sampler_history *h, uint32_t *counts,
                                         float *logits)
{
    for (size_t i = 0; i < h->count; i++)
        counts[h->tokens[i]] += h->generated[i];
    for (size_t i = 0; i < h->count; i++) {
        uint32_t *count = &counts[h->tokens[i]];

        if (*count)
            logits[h->tokens[i]] = sane(logits[h->tokens[i]]) - o->presence_penalty -
                                   o->frequency_penalty * (float)*count;
        *count = 0;
    }
}

/* --- the draw --- */

static double weight_of(const struct llmos_sampling *o, float logit, float most)
{
    return exp(((double)logit - (double)most) / (double)o->temperature);
}

/* From all tokens in order of their id: nothing to sort. */
static int32_t draw_from_all(const struct llmos_sampling *o, const float *logits, size_t n,
                             float most, double u)
{
    double total = 0, sum = 0;
    int32_t last = -1;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++) {
            double w = weight_of(o, sane(logits[i]), most);

            if (w < (double)o->min_p || w == 0)
                continue;
            if (pass == 0) {
                total += w;
                continue;
            }
            sum += w;
            last = (int32_t)i;
            if (sum > u * total)
                return last;
        }
    return last; /* rounding: u * total reached the sum */
}

/* The candidates, best first, that top-p and min-p leave of a distribution that weighs total;
 * count + 1 if more than count would be needed. */
static size_t nucleus(const struct llmos_sampling *o, const struct sampler_candidate *c,
                      size_t count, double total)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++) {
        double w = weight_of(o, c[i].logit, c[0].logit);

        if (i > 0 && w < (double)o->min_p)
            return i;
        sum += w;
        if (sum >= (double)o->top_p * total)
            return i + 1;
    }
    return o->top_p < 1 ? count + 1 : count;
}

static int32_t draw_from_best(const struct llmos_sampling *o, const struct sampler_candidate *c,
                              size_t count, double u)
{
    double total = 0, sum = 0;

    for (size_t i = 0; i < count; i++)
        total += weight_of(o, c[i].logit, c[0].logit);
    for (size_t i = 0; i < count; i++) {
        sum += weight_of(o, c[i].logit, c[0].logit);
        if (sum > u * total)
            return c[i].token;
    }
    return c[count - 1].token;
}

static int32_t draw(const struct llmos_sampling *o, const float *logits, size_t n, float most,
                    struct sampler_candidate *c, double u)
{
    bool all = o->top_k == 0 || o->top_k >= n;
    size_t k = all ? 64 : o->top_k, count, kept;
    double total = 0;

    if (all && o->top_p >= 1)
        return draw_from_all(o, logits, n, most, u);
    for (size_t i = 0; i < n && all; i++)
        total += weight_of(o, sane(logits[i]), most);
    /* The nucleus of all tokens is small as a rule: sort a few, more only if they do not do. */
    for (;; k *= 8) {
        count = select_best(logits, n, k < n ? k : n, c);
        for (size_t i = 0; i < count && !all; i++)
            total += weight_of(o, c[i].logit, most);
        kept = nucleus(o, c, count, total);
        if (kept <= count || !all || k >= n)
            break;
    }
    return draw_from_best(o, c, kept < count ? kept : count, u);
}

void sampler_carve(struct sampler_scratch *scratch, size_t n_vocab, struct carve *c)
{
    scratch->logits = carve_array(c, float, n_vocab);
    scratch->counts = carve_array(c, uint32_t, n_vocab);
    scratch->candidates = carve_array(c, struct sampler_candidate, n_vocab);
}

/* The logits that are chosen from; those of the model where nothing changes them. */
static const float *change(const struct llmos_sampling *o, const float *logits, size_t n_vocab,
                           const struct sampler_history *history,
                           const struct sampler_scratch *scratch)
{
    bool repeat = o->repeat_penalty != 1;
    bool frequency = o->presence_penalty != 0 || o->frequency_penalty != 0;

    if (o->bias_count == 0 && !repeat && !frequency)
        return logits;
    memcpy(scratch->logits, logits, n_vocab * sizeof(*logits));
    apply_bias(o, scratch->logits);
    if (repeat)
        apply_repeat(o, history, scratch->counts, scratch->logits);
    if (frequency)
        apply_presence_and_frequency(o, history, scratch->counts, scratch->logits);
    return scratch->logits;
}

/* Of 64 tokens in turn; most words are all ones or all zeros. */
static void apply_mask(const uint64_t *mask, const float *from, float *logits, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t word = mask[i / 64];
        size_t end = i / 64 * 64 + 64 < n ? i / 64 * 64 + 64 : n;

        if (word == 0)
            for (; i < end; i++)
                logits[i] = -INFINITY;
        else
            for (; i < end; i++)
                logits[i] = word >> (i % 64) & 1 ? from[i] : -INFINITY;
        i--;
    }
}

/* Bans what the grammar does not allow.  Who takes the likeliest token asks for that one first: if
 * it is allowed it is the likeliest of those that are, and nothing needs to be banned. */
static int obey(const struct llmos_sampling *o, struct matcher *grammar, const float **changed,
                size_t n_vocab, const struct sampler_scratch *scratch, int32_t *best)
{
    const uint64_t *mask;

    if (o->temperature <= 0 && *best >= 0 && matcher_allows(grammar, (uint32_t)*best))
        return 0;
    mask = matcher_mask(grammar);
    if (!mask)
        return matcher_failure(grammar) < 0 ? matcher_failure(grammar) : LLMOS_ENOMEM;
    apply_mask(mask, *changed, scratch->logits, n_vocab);
    *changed = scratch->logits;
    *best = select_one(scratch->logits, n_vocab);
    return *best < 0 ? LLMOS_ENOTFOUND : 0;
}

int sampler_pick(const struct llmos_sampling *o, const float *logits, size_t n_vocab,
                 const struct sampler_history *history, struct matcher *grammar, struct rng *rng,
                 const struct sampler_scratch *scratch, struct llmos_step_out *out)
{
    int32_t likeliest = select_one(logits, n_vocab), best;
    const float *changed;
    int rc;

    if (likeliest < 0)
        return LLMOS_EFORMAT;
    changed = change(o, logits, n_vocab, history, scratch);
    best = changed == logits ? likeliest : select_one(changed, n_vocab);
    rc = grammar ? obey(o, grammar, &changed, n_vocab, scratch, &best) : 0;
    if (rc < 0)
        return rc;
    if (best < 0)
        return LLMOS_EFORMAT;
    out->token = best;
    if (o->temperature > 0)
        out->token =
            draw(o, changed, n_vocab, sane(changed[best]), scratch->candidates, rng_uniform(rng));
    report_logprobs(o, logits, n_vocab, sane(logits[likeliest]), scratch->candidates, out);
    return 0;
}
