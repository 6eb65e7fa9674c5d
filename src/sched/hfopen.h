/* SPDX-License-Identifier: Apache-2.0 */
/* hfopen.h - opens a Hugging Face folder: by a fixed list of names, and the shards that its index
 * names.
 *
 * Nothing is parsed here but the names in the index, which are checked first (no slash, no "..").
 * Links are followed, as the caches of Hugging Face consist of them; what is opened is a regular
 * file or refused. */
#ifndef SCHED_HFOPEN_H
#define SCHED_HFOPEN_H

#include "model/hffolder.h"
#include "net/message.h"

struct hfopen {
    char names[MESSAGE_FILES_MAX][HFFOLDER_NAME_MAX + 1];
    int fds[MESSAGE_FILES_MAX];
    unsigned count;
    uint64_t bytes; /* of all files */
};

/* True if the path leads to a folder. */
bool hfopen_is_folder(const char *path);

/* LLMOS_EUNSUPPORTED: its weights are pickles, or there are none.  On failure nothing is open. */
int hfopen_open(struct hfopen *h, const char *path, struct llmos_error *err);
void hfopen_close(struct hfopen *h);

#endif
