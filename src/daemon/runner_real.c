/* SPDX-License-Identifier: Apache-2.0 */
/* runner_real.c - the workers that runners of the daemon use */
#include "daemon/runner.h"

const struct runner_ops runner_real = {worker_start,   worker_send, worker_receive,     worker_stop,
                                       worker_destroy, worker_vce,  worker_memory_bytes};
