/* SPDX-License-Identifier: Apache-2.0 */
/* prepared.c - see prepared.h */
#include "cli/prepared.h"

#include "cli/halt.h"
#include "tensor/backend.h"

#include <stdio.h>

struct bar {
    struct spinner spinner;
    char reading[300], packing[300];
};

static int draw(void *arg, enum prepare_step step, uint64_t done, uint64_t total)
{
    struct bar *b = arg;

    b->spinner.what = step == PREPARE_READING ? b->reading : b->packing;
    if (total)
        spinner_bar(&b->spinner, done, total);
    else
        spinner_turn(&b->spinner);
    return halt_asked() ? LLMOS_ECANCELED : 0;
}

int prepared_make(struct packcache *cache, const struct worker_options *worker,
                  struct llmos_error *err)
{
    struct bar bar;
    const struct prepare_options o = {
        .cache = cache, .worker = worker, .progress = draw, .arg = &bar};
    int rc;

    snprintf(bar.reading, sizeof(bar.reading), "reading %s (once)", worker->name);
    snprintf(bar.packing, sizeof(bar.packing), "preparing %s for this processor (once)",
             worker->name);
    spinner_start(&bar.spinner, bar.reading);
    rc = prepare_model(&o, err);
    spinner_clear(&bar.spinner);
    return rc;
}

static void warn(const struct worker_options *worker, const struct llmos_error *why)
{
    fprintf(stderr, "llmos: '%s' runs without packed weights: %s\n", worker->name, why->text);
}

static bool make(struct packcache *cache, const struct worker_options *worker)
{
    struct llmos_error why = {0};

    if (prepared_make(cache, worker, &why) >= 0)
        return true;
    if (halt_asked())
        return false;
    warn(worker, &why);
    return true;
}

/* A model that cannot be opened is told by whoever is about to start it. */
static bool is_large(const struct worker_options *worker)
{
    return parts_bytes(worker->model_path) >= PREPARE_LEAST_BYTES;
}

bool prepared_find(struct packcache **cache, const struct worker_options *worker)
{
    struct packcache_options o = {.folder = NULL};
    struct llmos_error why = {0};

    *cache = NULL;
    if (!backend_best()->reads_packed)
        return true;
    if (packcache_open(cache, &o, &why) < 0) {
        if (is_large(worker))
            warn(worker, &why);
        return true;
    }
    return !is_large(worker) || make(*cache, worker);
}

bool prepared_again(struct packcache *cache, const struct worker_options *worker)
{
    fprintf(stderr, "llmos: the packed weights of '%s' were damaged; they are made again\n",
            worker->name);
    return make(cache, worker);
}
