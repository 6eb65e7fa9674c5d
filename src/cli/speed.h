/* SPDX-License-Identifier: Apache-2.0 */
/* speed.h - what llmos bench has measured, for people, scripts, spreadsheets and papers.
 *
 * A point is a JSON object: what the engine reports (docs/PROTOCOL.md, BENCH) with medians in it,
 * and what this side adds: "file", "cpu", "version", "repeat", "memory_bytes", the shares of the
 * machine's limits, and "peers", a list of {name, version, prefill_tokens_per_second,
 * decode_tokens_per_second, prefill_ratio, decode_ratio}, where a ratio above 1 says that llmos is
 * faster.  What was not measured is absent. */
#ifndef CLI_SPEED_H
#define CLI_SPEED_H

#include "base/buf.h"

#include <jansson.h>

/* What changes from point to point. */
struct speed_sweep {
    const char *name;   /* "threads", "batch", "context" */
    const char *key;    /* of a point */
    const char *title;  /* of the axis */
    const char *column; /* of the table */
    bool is_log;
};

const struct speed_sweep *speed_sweep(const char *name); /* NULL: there is none */

/* Adds the shares: decode_share_of_read and prefill_share_of_compute, where the limits are known.
 * The reading of weights that decoding at this speed needs, and the operations of linear layers
 * that prefill needs, over what the machine can do. */
int speed_add_shares(json_t *point, struct llmos_error *err);

void speed_put_point(const json_t *point, struct buf *out);
void speed_put_sweep(const json_t *points, const struct speed_sweep *sweep, struct buf *out);
void speed_put_plot(const json_t *points, const struct speed_sweep *sweep, struct buf *out);

/* Appends a line for llmos and one for each peer of each point; a new or empty file gets the names
 * of the columns first.  LLMOS_EINVAL: the file has other columns. */
int speed_append_csv(const char *path, const json_t *points, struct llmos_error *err);

#endif
