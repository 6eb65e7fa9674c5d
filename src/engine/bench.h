/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h - how fast is this model here: measured inside the engine, with nobody else in it. */
#ifndef ENGINE_BENCH_H
#define ENGINE_BENCH_H

#include "engine/serve.h"

/* Measures and sends PROGRESS and the result as DATA (JSON, see docs/PROTOCOL.md).  An error is of
 * this request; LLMOS_ECLOSED: the host is gone; LLMOS_ECANCELED: it wants no more. */
int bench_run(struct serve *s, uint64_t id, const struct message_bench *b, struct llmos_error *err);

#endif
