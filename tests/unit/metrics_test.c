/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_test.c - claims about metrics.h */
#include "daemon/metrics.h"

#include "test.h"

TEST(metrics_buckets_are_cumulative_and_end_in_the_count)
{
    struct histogram h = {.count = 0};
    struct buf out;

    histogram_add(&h, 0.001);
    histogram_add(&h, 0.005);
    histogram_add(&h, 0.006);
    histogram_add(&h, 1000);
    buf_init(&out, 1 << 16);
    metrics_histogram(&out, "x_seconds", "model", "m", &h);
    CHECK_CONTAINS(out.at, "x_seconds_bucket{model=\"m\",le=\"0.005\"} 2\n");
    CHECK_CONTAINS(out.at, "x_seconds_bucket{model=\"m\",le=\"0.01\"} 3\n");
    CHECK_CONTAINS(out.at, "x_seconds_bucket{model=\"m\",le=\"40.96\"} 3\n");
    CHECK_CONTAINS(out.at, "x_seconds_bucket{model=\"m\",le=\"+Inf\"} 4\n");
    CHECK_CONTAINS(out.at, "x_seconds_sum{model=\"m\"} 1000.012\n");
    CHECK_CONTAINS(out.at, "x_seconds_count{model=\"m\"} 4\n");
    buf_fini(&out);
}

TEST(metrics_escapes_label_values)
{
    struct buf out;

    buf_init(&out, 1 << 16);
    metrics_family(&out, "a_total", "counter", "Things.");
    metrics_sample(&out, "a_total", "model", "a\"b\\c\nd", 3);
    metrics_sample(&out, "b", NULL, NULL, 0.5);
    CHECK_STR(out.at, "# HELP a_total Things.\n# TYPE a_total counter\n"
                      "a_total{model=\"a\\\"b\\\\c\\nd\"} 3\nb 0.5\n");
    buf_fini(&out);
}
