/* SPDX-License-Identifier: Apache-2.0 */
/* admin.h - questions to the daemon's administration, over its Unix socket. */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include "base/opt.h"
#include "net/client.h"

#include <jansson.h>

#define ADMIN_OPTIONS(s, field)                                           \
    OPT_STRING(0, "socket", s, field, "PATH", "the daemon's Unix socket", \
               .default_text = "$LLMOS_SOCKET, or where llmosd puts it")

/* *reply is a new reference, an object, and `text`, if not NULL, gets its bytes.  socket NULL:
 * where path_socket says.  A status that is no success becomes an error with what the daemon says
 * of it. */
int admin_call(const char *socket, const char *method, const char *path, json_t **reply,
               struct buf *text, struct llmos_error *err);

#endif
