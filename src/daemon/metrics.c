/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - see metrics.h */
#include "daemon/metrics.h"

#define FIRST_BUCKET_SECONDS 0.005

void histogram_add(struct histogram *h, double seconds)
{
    double bound = FIRST_BUCKET_SECONDS;
    int i = 0;

    while (i < METRICS_BUCKETS && seconds > bound) {
        bound *= 2;
        i++;
    }
    if (i < METRICS_BUCKETS)
        h->bucket[i]++;
    h->count++;
    h->sum += seconds;
}

void metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label(struct buf *out, const char *label, const char *value)
{
    buf_printf(out, "%s=\"", label);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            buf_putc(out, '\\');
        if (*value == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, *value);
    }
    buf_putc(out, '"');
}

void metrics_sample(struct buf *out, const char *name, const char *label, const char *value,
                    double sample)
{
    buf_puts(out, name);
    if (label) {
        buf_putc(out, '{');
        put_label(out, label, value);
        buf_putc(out, '}');
    }
    buf_printf(out, " %.15g\n", sample);
}

void metrics_histogram(struct buf *out, const char *name, const char *label, const char *value,
                       const struct histogram *h)
{
    double bound = FIRST_BUCKET_SECONDS;
    uint64_t below = 0;

    for (int i = 0; i <= METRICS_BUCKETS; i++, bound *= 2) {
        buf_printf(out, "%s_bucket{", name);
        put_label(out, label, value);
        if (i < METRICS_BUCKETS) {
            below += h->bucket[i];
            buf_printf(out, ",le=\"%g\"} %llu\n", bound, (unsigned long long)below);
        } else {
            buf_printf(out, ",le=\"+Inf\"} %llu\n", (unsigned long long)h->count);
        }
    }
    buf_printf(out, "%s_sum{", name);
    put_label(out, label, value);
    buf_printf(out, "} %.15g\n%s_count{", h->sum, name);
    put_label(out, label, value);
    buf_printf(out, "} %llu\n", (unsigned long long)h->count);
}
