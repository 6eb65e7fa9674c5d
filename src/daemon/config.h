/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - what llmosd is to do, from llmos.yaml and the command line.
 *
 * The file is checked against the schema with line and column before libcyaml loads it: unknown
 * keys (with the nearest known one), wrong types, values out of range, duplicates, aliases,
 * anything larger than CONFIG_BYTES_MAX.  What is set later wins, so flags come after the file. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "base/arena.h"
#include "base/log.h"
#include "daemon/supervise.h"
#include "net/server.h"

#define CONFIG_BYTES_MAX (256u << 10)
#define CONFIG_PORT      5000

struct config {
    struct arena arena; /* every string lives here */
    const char *address;
    uint32_t port;
    const char *socket; /* NULL: path_socket() */
    const char *hosts[SERVER_NAMES_MAX];
    unsigned host_count;
    enum log_level log;

    struct worker_options models[SUPERVISE_MODELS_MAX];
    unsigned model_count;
    bool runs_plain[SUPERVISE_MODELS_MAX]; /* without packed weights */
    const char *cache;                     /* NULL: path_cache() */
    uint64_t cache_max_bytes;              /* 0: packcache.h's */
    bool cache_shared;
    unsigned skip, required; /* VCE_BITs, for every model */
    bool require_default;

    uint64_t body_bytes;
    uint32_t queue, connections, receive_seconds, idle_seconds, drain_seconds, stall_seconds,
        start_seconds;
};

/* The defaults.  Also after a failed load config_fini is right. */
void config_init(struct config *c);
void config_fini(struct config *c);

/* `file` is the name in errors, and paths of models are relative to its folder. */
int config_load(struct config *c, struct str yaml, const char *file, struct llmos_error *err);
int config_load_file(struct config *c, const char *path, struct llmos_error *err);

/* "name=path" of --model; without a name the file's name without its ending is taken. */
int config_add_model(struct config *c, const char *text, struct llmos_error *err);
int config_add_encoder(struct config *c, const char *text, struct llmos_error *err); /* likewise */

/* "error", "warn", "info" or "debug". */
int config_log_level(const char *name, enum log_level *level, struct llmos_error *err);

/* What no single key can say: at least one model, and that each file can be opened (or is a
 * folder). */
int config_check(const struct config *c, struct llmos_error *err);

#endif
