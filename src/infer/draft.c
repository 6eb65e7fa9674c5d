/* SPDX-License-Identifier: Apache-2.0 */
/* draft.c - see draft.h */
#include "infer/draft.h"

#include <stdbool.h>

#define WEIGHT        0.125 /* of the newest in a moving average: forgets in some ten */
#define ROW_COSTS     0.06  /* of a step of one row, as long as nobody knows */
#define MARGIN        1.03  /* less gain than this is noise */
#define NOTES_KEPT    1024  /* an old measurement (short context, other load) counts no more */
#define PROBE_GUESSES 2

void draft_cost_note(struct draft_cost *c, uint32_t rows, uint64_t ns)
{
    double *at, now = (double)ns;

    c->notes++;
    if (rows == 0 || rows > DRAFT_ROWS_MAX)
        return;
    at = &c->ns[rows];
    if (*at <= 0 || c->notes - c->when[rows] > NOTES_KEPT)
        *at = now;
    else /* a step that was interrupted says little about the next */
        *at += ((now > 2 * *at ? 2 * *at : now) - *at) * WEIGHT;
    c->when[rows] = c->notes;
}

static bool is_known(const struct draft_cost *c, uint32_t rows)
{
    return c->ns[rows] > 0 && c->notes - c->when[rows] <= NOTES_KEPT;
}

static double guessed_cost(uint32_t rows)
{
    return 1 + ROW_COSTS * (rows - 1);
}

double draft_cost_of(const struct draft_cost *c, uint32_t rows)
{
    uint32_t below = rows, above = rows;

    while (below > 0 && !is_known(c, below))
        below--;
    while (above <= DRAFT_ROWS_MAX && !is_known(c, above))
        above++;
    if (below == rows)
        return c->ns[rows];
    if (below > 0 && above <= DRAFT_ROWS_MAX)
        return c->ns[below] +
               (c->ns[above] - c->ns[below]) * (rows - below) / (double)(above - below);
    if (below > 0)
        return c->ns[below] * guessed_cost(rows) / guessed_cost(below);
    if (above <= DRAFT_ROWS_MAX)
        return c->ns[above] * guessed_cost(rows) / guessed_cost(above);
    return guessed_cost(rows);
}

void draft_odds_init(struct draft_odds *o, double right)
{
    *o = (struct draft_odds){.right = right};
}

void draft_odds_note(struct draft_odds *o, uint32_t guessed, uint32_t right)
{
    for (uint32_t i = 0; i < guessed && i <= right; i++)
        o->right += ((i < right ? 1.0 : 0.0) - o->right) * WEIGHT;
}

double draft_tokens(const struct draft_odds *o, uint32_t guesses)
{
    double sum = 0, chance = 1;

    for (uint32_t i = 0; i < guesses; i++) {
        chance *= o->right;
        sum += chance;
    }
    return sum;
}

static uint32_t best_length(const struct draft_odds *o, const struct draft_cost *c, uint32_t rows,
                            double tokens, uint32_t most, double guess_ns)
{
    double rate = tokens / draft_cost_of(c, rows) * MARGIN, chance = 1, sum = tokens;
    uint32_t best = 0;

    for (uint32_t k = 1; k <= most; k++) {
        double r;

        chance *= o->right;
        sum += chance;
        r = sum / (draft_cost_of(c, rows + k) + k * guess_ns);
        if (r > rate) {
            rate = r;
            best = k;
        }
    }
    return best;
}

/* Does not pay: let chances pass, and more of them each time. */
static uint32_t look_again(struct draft_odds *o, uint32_t most)
{
    if (o->pause == 0) {
        o->wait = o->pause = DRAFT_PAUSE_MIN;
        return 0;
    }
    if (o->wait > 0) {
        o->wait--;
        return 0;
    }
    o->pause = o->pause < DRAFT_PAUSE_MAX / 2 ? 2 * o->pause : DRAFT_PAUSE_MAX;
    o->wait = o->pause;
    return most < PROBE_GUESSES ? most : PROBE_GUESSES;
}

uint32_t draft_length(struct draft_odds *o, const struct draft_cost *c, uint32_t rows,
                      double tokens, uint32_t most, double guess_ns)
{
    uint32_t best;

    if (rows >= DRAFT_ROWS_MAX)
        return 0;
    if (most > DRAFT_ROWS_MAX - rows)
        most = DRAFT_ROWS_MAX - rows;
    if (most == 0)
        return 0;
    best = best_length(o, c, rows, tokens, most, guess_ns);
    if (best == 0)
        return look_again(o, most);
    o->pause = 0;
    return best;
}
