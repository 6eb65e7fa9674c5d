/* SPDX-License-Identifier: Apache-2.0 */
/* folders.h - models of the configuration that are Hugging Face folders: converted before the first
 * engine starts, once; then the file of the cache takes their place. */
#ifndef DAEMON_FOLDERS_H
#define DAEMON_FOLDERS_H

#include "daemon/config.h"

/* May take minutes, and says so in the log.  The error names the model. */
int folders_convert(struct config *c, struct llmos_error *err);

#endif
