/* SPDX-License-Identifier: Apache-2.0 */
/* clean.h - a name out of a file, made fit to be shown. */
#ifndef MODEL_CLEAN_H
#define MODEL_CLEAN_H

#include "base/str.h"

/* A zero-terminated copy, cut at a character to fit `room` bytes: what is not valid UTF-8, and
 * control characters, become '?'. */
void clean_name(char *out, size_t room, struct str text);

#endif
