/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - figures for Prometheus, in its text format.
 *
 * Counted by the daemon's thread, no locks. */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include "base/buf.h"

#define METRICS_BUCKETS 14

/* Seconds, in buckets that double from 5 ms to 41 s; what lies beyond is in the count alone. */
struct histogram {
    uint64_t bucket[METRICS_BUCKETS]; /* not cumulative */
    uint64_t count;
    double sum;
};

void histogram_add(struct histogram *h, double seconds);

/* Heads of a family: "# HELP" and "# TYPE" lines. */
void metrics_family(struct buf *out, const char *name, const char *type, const char *help);
/* One sample.  `label` is NULL or the name of a label whose value is escaped. */
void metrics_sample(struct buf *out, const char *name, const char *label, const char *value,
                    double sample);
void metrics_histogram(struct buf *out, const char *name, const char *label, const char *value,
                       const struct histogram *h);

#endif
