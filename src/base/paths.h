/* SPDX-License-Identifier: Apache-2.0 */
/* paths.h - where programs of LLM OS meet each other, decided in one place. */
#ifndef BASE_PATHS_H
#define BASE_PATHS_H

#include "base/fail.h"

#include <stddef.h>

/* The daemon's Unix socket: $LLMOS_SOCKET; else $XDG_RUNTIME_DIR/llmos/llmosd.sock; else
 * /run/llmos/llmosd.sock for root and /tmp/llmos-UID/llmosd.sock for others.  LLMOS_ELIMIT: longer
 * than a socket's address may be. */
int path_socket(char *path, size_t size, struct llmos_error *err);

/* The folder for what a user's programs remember: $XDG_STATE_HOME/llmos, else
 * $HOME/.local/state/llmos.  LLMOS_ENOTFOUND: neither is set. */
int path_state(char *path, size_t size, struct llmos_error *err);

/* The folder for what can be made again: $LLMOS_CACHE; /var/cache/llmos for root;
 * $XDG_CACHE_HOME/llmos, else $HOME/.cache/llmos.  LLMOS_ENOTFOUND: none of them is set. */
int path_cache(char *path, size_t size, struct llmos_error *err);

/* Makes the folder of `path` and those above it, mode 0700 where they were missing. */
int path_make_parents(const char *path, struct llmos_error *err);

#endif
