/* SPDX-License-Identifier: Apache-2.0 */
/* parts.h - the files that a model is in: one, or several called NAME-00001-of-00003.gguf.
 *
 * Nothing is parsed here but the name; whether the parts belong together gguf_parse_parts checks.
 */
#ifndef MODEL_PARTS_H
#define MODEL_PARTS_H

#include "model/gguf.h"

struct parts {
    int fds[GGUF_PARTS_MAX]; /* in their order */
    unsigned count;
    uint64_t bytes; /* of all */
};

/* Bytes of the path in front of "-00001-of-00003.gguf"; 0: it is no such name. */
size_t parts_stem(const char *path);

/* The path of a model: that of its first part if the name is that of any part.  LLMOS_ELIMIT: it is
 * too long. */
int parts_first(const char *path, char *first, size_t size, struct llmos_error *err);

/* Opens a model file; if the name is that of a part, all parts, which stand in the same folder.
 * LLMOS_ENOTFOUND names the one that is missing; LLMOS_ELIMIT: there are more than GGUF_PARTS_MAX.
 * On failure nothing is open. */
int parts_open(struct parts *p, const char *path, struct llmos_error *err);
void parts_close(struct parts *p); /* {.count = 0} is fine */

/* Of all files of a model; 0: they cannot be opened. */
uint64_t parts_bytes(const char *path);

/* The same, mapped.  The descriptors may be closed afterwards.  On failure nothing is mapped. */
struct parts_map {
    struct file_map maps[GGUF_PARTS_MAX];
    unsigned count;
};

int parts_map(struct parts_map *m, const int *fds, unsigned count, struct llmos_error *err);
void parts_unmap(struct parts_map *m); /* {.count = 0} is fine */

static inline void cleanup_parts(struct parts *p)
{
    parts_close(p);
}

static inline void cleanup_parts_map(struct parts_map *m)
{
    parts_unmap(m);
}

#endif
