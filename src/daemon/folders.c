/* SPDX-License-Identifier: Apache-2.0 */
/* folders.c - see folders.h */
#include "daemon/folders.h"

#include "base/log.h"
#include "sched/convert.h"
#include "sched/hfopen.h"

#include <limits.h>

static int convert(struct config *c, struct worker_options *m, struct llmos_error *err)
{
    const struct packcache_options place = {.kind = PACKCACHE_CONVERTED,
                                            .folder = c->cache,
                                            .bytes_max = c->cache_max_bytes,
                                            .is_shared = c->cache_shared};
    const struct convert_options o = {.folder = m->model_path, .place = &place, .worker = m};
    char path[PATH_MAX];
    int rc;

    log_event(LOG_INFO, "converting, unless it was model=%s folder=%s", m->name, m->model_path);
    rc = convert_to_cache(&o, path, sizeof(path), err);
    if (rc < 0)
        return fail_while(err, rc, "model '%s', folder '%s'", m->name, m->model_path);
    m->model_path = arena_strndup(&c->arena, path, strlen(path));
    return m->model_path ? 0 : fail(err, LLMOS_ENOMEM, "no memory for the configuration");
}

int folders_convert(struct config *c, struct llmos_error *err)
{
    int rc = 0;

    for (unsigned i = 0; i < c->model_count && rc == 0; i++)
        if (hfopen_is_folder(c->models[i].model_path))
            rc = convert(c, &c->models[i], err);
    return rc;
}
