/* SPDX-License-Identifier: Apache-2.0 */
/* embedding.h - one HTTP request for vectors or ranks.
 *
 * Each text is an ask of its own, and a few of a request are with the engine at a time: it answers
 * in order, and whoever comes second waits behind a few texts, not behind thousands.  A VCE that
 * dies costs nothing but time: what it had not answered is asked once more. */
#ifndef DAEMON_EMBEDDING_H
#define DAEMON_EMBEDDING_H

#include "daemon/job.h"

extern const struct job_kind embedding_of_texts, embedding_of_pairs;

#endif
