/* SPDX-License-Identifier: Apache-2.0 */
/* folders.c - see folders.h */
#include "daemon/folders.h"

#include "base/log.h"
#include "sched/convert.h"
#include "sched/hfopen.h"

#include <limits.h>

static int convert(struct config *c, struct worker_options *m, const char **model,
                   struct llmos_error *err)
{
    const struct packcache_options place = {.kind = PACKCACHE_CONVERTED,
                                            .folder = c->cache,
                                            .bytes_max = c->cache_max_bytes,
                                            .is_shared = c->cache_shared};
    const struct convert_options o = {.folder = *model, .place = &place, .worker = m};
    char path[PATH_MAX];
    int rc;

    log_event(LOG_INFO, "converting, unless it was model=%s folder=%s", m->name, *model);
    rc = convert_to_cache(&o, path, sizeof(path), err);
    if (rc < 0)
        return fail_while(err, rc, "model '%s', folder '%s'", m->name, *model);
    *model = arena_strndup(&c->arena, path, strlen(path));
    return *model ? 0 : fail(err, LLMOS_ENOMEM, "no memory for the configuration");
}

int folders_convert(struct config *c, struct llmos_error *err)
{
    int rc = 0;

    for (unsigned i = 0; i < c->model_count && rc == 0; i++) {
        struct worker_options *m = &c->models[i];

        if (hfopen_is_folder(m->model_path))
            rc = convert(c, m, &m->model_path, err);
        if (rc == 0 && m->draft_path && hfopen_is_folder(m->draft_path))
            rc = convert(c, m, &m->draft_path, err);
    }
    return rc;
}
