/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h - the llama-bench of somebody else (llama.cpp, ik_llama.cpp), run beside ours.
 *
 * It is a program that the user named: it runs with the user's rights, not in a VCE.  No shell is
 * between; its output is bounded, its JSON read under limits, and it is ended with all its children
 * when it takes too long or the user wants no more. */
#ifndef CLI_PEER_H
#define CLI_PEER_H

#include "base/fail.h"

#include <stdint.h>

#define PEERS_MAX 4

/* How its llama-bench is told of tokens that stand before what is measured. */
enum peer_depth { PEER_NO_DEPTH, PEER_DEPTH, PEER_DECODE_DEPTH };

struct peer {
    const char *path; /* the caller's */
    char name[64];
    enum peer_depth depth;
};

/* word: PATH or NAME=PATH.  Without a name it is that of the folder which the program was built in,
 * as in "ik_llama.cpp/build/bin/llama-bench". */
int peer_init(struct peer *p, const char *word, struct llmos_error *err);

/* Finds out whether it knows of depths; leaves PEER_NO_DEPTH if not. */
int peer_ask_depth(struct peer *p, struct llmos_error *err);

struct peer_job {
    const char *model_path, *args; /* args: more of its options, parted by blanks; NULL: none */
    uint32_t prompt, generate, depth, threads;
    uint32_t timeout_seconds;
};

struct peer_speed {
    double prefill, decode; /* tokens per second; 0: not measured */
    char version[64];       /* commit of its build; empty: not said */
};

/* One run.  LLMOS_ECANCELED: the user wants no more (halt.h); LLMOS_EFORMAT: it did not say what
 * was wanted; LLMOS_EIO: it could not be run, failed or took too long. */
int peer_run(const struct peer *p, const struct peer_job *job, struct peer_speed *speed,
             struct llmos_error *err);

#endif
