/* SPDX-License-Identifier: Apache-2.0 */
/* converted.c - see converted.h */
#include "cli/converted.h"

#include "cli/halt.h"
#include "cli/screen.h"
#include "sched/hfopen.h"

#include <stdio.h>

struct bar {
    struct spinner spinner;
    char reading[300], writing[300];
};

static int draw(void *arg, enum convert_step step, uint64_t done, uint64_t total)
{
    struct bar *b = arg;

    b->spinner.what = step == CONVERT_READING ? b->reading : b->writing;
    if (total)
        spinner_bar(&b->spinner, done, total);
    else
        spinner_turn(&b->spinner);
    return halt_asked() ? LLMOS_ECANCELED : 0;
}

static void begin(struct bar *b, struct convert_options *o)
{
    snprintf(b->reading, sizeof(b->reading), "reading %s (once)", o->worker->name);
    snprintf(b->writing, sizeof(b->writing), "converting %s (once)", o->worker->name);
    o->progress = draw;
    o->arg = b;
    spinner_start(&b->spinner, b->reading);
}

int converted_write(const char *folder, const char *out, const char *type,
                    const struct worker_options *worker, struct llmos_error *err)
{
    struct convert_options o = {.folder = folder, .type = type, .worker = worker};
    struct bar bar;
    int rc;

    begin(&bar, &o);
    rc = convert_to_file(&o, out, err);
    spinner_clear(&bar.spinner);
    return rc < 0 ? fail_while(err, rc, "folder '%s'", folder) : 0;
}

const char *converted_find(const char *path, const struct worker_options *worker, char *made,
                           size_t size, struct llmos_error *err)
{
    struct convert_options o = {.folder = path, .worker = worker};
    struct bar bar;
    int rc;

    if (!hfopen_is_folder(path))
        return path;
    begin(&bar, &o);
    rc = convert_to_cache(&o, made, size, err);
    spinner_clear(&bar.spinner);
    if (rc < 0) {
        fail_while(err, rc, "folder '%s'", path);
        return NULL;
    }
    return made;
}
