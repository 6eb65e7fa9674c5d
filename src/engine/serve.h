/* SPDX-License-Identifier: Apache-2.0 */
/* serve.h - requests of one host become sequences that a model advances together.
 *
 * Requests wait in the order they came until a sequence is free.  When every sequence waits for
 * pages of the cache, the youngest gives its pages back and later says its tokens again without
 * showing them: same seed, same bytes.  Requests that begin alike share what was computed of it,
 * also by requests that are over.  One thread. */
#ifndef ENGINE_SERVE_H
#define ENGINE_SERVE_H

#include "engine/retrace.h"
#include "engine/wire.h"
#include "llmos/encoder.h"
#include "llmos/session.h"
#include "model/parts.h"

#define SERVE_WAITING_MAX 1024
#define SERVE_WAITING_BYTES_MAX                                       \
    (32u << 20) /* their prompts: memory that no context accounts for \
                 */

struct request;  /* private to serve.c */
struct encoding; /* private to encoding.c */

struct serve {
    struct wire *wire;
    struct parts model_files, draft_files; /* not ours to close */
    int output_fd, importance_fd, folder_fd;
    uint8_t purpose, packing;
    uint32_t threads;           /* as SETUP says */
    uint64_t load_us;           /* from SETUP to READY */
    llmos_model *model;         /* NULL when only inspecting */
    llmos_model *draft;         /* NULL: there is none */
    llmos_context *context;     /* NULL unless answering */
    llmos_encoder *encoder;     /* NULL unless encoding */
    uint64_t memory_left_bytes; /* that it does not take; without one as SETUP says, 0: no limit */
    uint32_t context_tokens, sessions_max;
    bool has_space_prefix; /* the tokenizer writes a space in front of a text */

    struct request **running; /* in the order they began; sessions_max of them */
    uint32_t running_count;
    struct request *waiting, **waiting_end;
    uint32_t waiting_count;
    size_t waiting_bytes;
    uint64_t arrivals;
    bool is_crowded; /* somebody gave way: nobody begins until somebody is done */

    struct retrace retrace; /* while nothing runs */

    llmos_session **sessions; /* of one step, with what came of it */
    struct llmos_step_out *outs;
    int32_t *tokens; /* scratch: context_tokens + 1 */
    /* Texts in the order they came; the first `encodings_running` are in the step that runs. */
    struct encoding *encodings, **encodings_end;
    uint32_t encodings_count, encodings_running;
    size_t encodings_bytes;

    struct message_stats stats;
    uint64_t stats_sent_ns;
    uint64_t alone_id; /* of the request that has the engine for itself; 0: none */
    bool alone_is_canceled;
};

/* What the engine finds open; of a folder the first file, the others stand behind it; there are
 * also the further parts of a model in several files, and behind them those of the draft model.
 * SETUP says how many, and whether a draft model and packed weights are there; an output is there
 * for PURPOSE_PACK, PURPOSE_QUANTIZE and EVALUATE_IMPORTANCE, importance data if QUANTIZE says so.
 */
struct serve_files {
    int model, draft, packed, output, importance, folder;
};

/* The model and the context, as SETUP wants; everything is released by serve_fini, also after a
 * failure.  The files stay the caller's. */
int serve_init(struct serve *s, struct wire *wire, const struct serve_files *files,
               const struct message_setup *setup, struct llmos_error *err);
void serve_fini(struct serve *s);

/* Says READY, then answers until the host is gone (0) or breaks the rules. */
int serve_run(struct serve *s, struct llmos_error *err);

/* Answers with bytes, in as many DATA frames as they need. */
int serve_say_data(struct serve *s, uint64_t id, struct str bytes, struct llmos_error *err);

/* Takes all messages that are there.  For requests that compute for long. */
int serve_hear(struct serve *s, int timeout_ms, struct llmos_error *err);

#endif
