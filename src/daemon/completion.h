/* SPDX-License-Identifier: Apache-2.0 */
/* completion.h - one HTTP request for text.
 *
 * A request becomes one ask for each sequence (prompts times n).  Nothing is sent to the client
 * before an engine says something, so until then a failure is a plain status, and a VCE that dies
 * costs nothing but time: the asks are repeated once with the same seeds.  After that a failure is
 * an error event at the end of the stream. */
#ifndef DAEMON_COMPLETION_H
#define DAEMON_COMPLETION_H

#include "daemon/job.h"

extern const struct job_kind completion_of_chat, completion_of_text;

#endif
