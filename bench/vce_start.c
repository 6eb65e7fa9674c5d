/* SPDX-License-Identifier: Apache-2.0 */
/* vce_start.c - how long a sandbox takes, from the call to an engine that has sealed itself.
 *
 *     vce_start [STARTS [REST_MS]]
 *
 * Model loading is left out: the engine has none.  One JSON line, milliseconds.  A rest before each
 * start shows what one alone costs: the kernel moves a process between cgroups faster if it has
 * just moved another. */
#include "quantile.h"

#include "base/clock.h"
#include "vce/launch.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STARTS_MAX  10000
#define REST_MAX_MS 60000

/* True if the engine said that it is ready. */
static bool start_once(const struct vce_options *o, double *start_ms, double *ready_ms)
{
    struct llmos_error err;
    uint64_t begin = clock_ns();
    struct vce v;
    char byte;
    bool is_ready;

    if (vce_start(&v, o, &err) < 0) {
        fprintf(stderr, "vce_start: %s\n", err.text);
        return false;
    }
    *start_ms = clock_seconds_since(begin) * 1e3;
    is_ready = read(v.socket, &byte, 1) == 1;
    *ready_ms = clock_seconds_since(begin) * 1e3;
    vce_fini(&v);
    return is_ready;
}

int main(int argc, char **argv)
{
    static double start_ms[STARTS_MAX], ready_ms[STARTS_MAX];
    int count = argc > 1 ? atoi(argv[1]) : 100, rest_ms = argc > 2 ? atoi(argv[2]) : 0;
    char folder[4096], launcher[4200], engine[4200];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
    struct vce_options o = {.launcher_path = launcher,
                            .engine_path = engine,
                            .name = "bench",
                            .model_fd = -1,
                            .memory_max_bytes = (uint64_t)1 << 30,
                            .require_default = true};

    if (n <= 0 || count < 1 || count > STARTS_MAX || rest_ms < 0 || rest_ms > REST_MAX_MS) {
        fprintf(stderr, "usage: vce_start [1..%d [0..%d]]\n", STARTS_MAX, REST_MAX_MS);
        return 2;
    }
    folder[n] = 0;
    dirname(folder);
    snprintf(launcher, sizeof(launcher), "%s/../llmos-vce", folder);
    snprintf(engine, sizeof(engine), "%s/vce_idle", folder);
    for (int i = 0; i < count; i++) {
        usleep((useconds_t)rest_ms * 1000);
        if (!start_once(&o, &start_ms[i], &ready_ms[i]))
            return 1;
    }
    printf(
        "{\"vce_starts\": %d, \"rest_ms\": %d, \"start_median_ms\": %.3f, \"start_p95_ms\": %.3f, "
        "\"ready_median_ms\": %.3f, \"ready_p95_ms\": %.3f}\n",
        count, rest_ms, quantile(start_ms, (size_t)count, 0.5),
        quantile(start_ms, (size_t)count, 0.95), quantile(ready_ms, (size_t)count, 0.5),
        quantile(ready_ms, (size_t)count, 0.95));
    return 0;
}
