/* SPDX-License-Identifier: Apache-2.0 */
/* talk.h - a model in a VCE of our own, for one verb: start it, ask it, hear the answer.
 *
 * Waiting shows a spinner on a terminal and ends when the user asks for it (halt.h):
 * LLMOS_ECANCELED.  Nothing the engine says is believed: texts are bytes, lengths are bounded
 * here. */
#ifndef CLI_TALK_H
#define CLI_TALK_H

#include "base/opt.h"
#include "cli/screen.h"
#include "sched/worker.h"

#define TALK_REPLY_MAX (256u << 20) /* of tokens and JSON: no honest reply comes near */

/* What the options of all verbs that start a VCE fill. */
struct talk_options {
    uint32_t threads, context, draft_max;
    uint32_t sequences; /* that are computed together; 0: 1 */
    const char *name;   /* what the model is called for the user; NULL: by its path */
    uint64_t memory;
    const char *chat_format, *draft, *draft_lookup, *pack, *kv_type;
    struct opt_list require_layers, skip_layers;
    bool isolation;               /* show which layers hold */
    const struct vce_file *files; /* further ones of the engine */
    unsigned file_count;
};

#define TALK_LAYERS \
    "user|mount|pid|net|ipc|uts|cgroup|caps|no_new_privs|landlock|seccomp|mdwe|rlimits|limits"

#define TALK_MODEL_OPTIONS(s, member)                                                          \
    OPT_GROUP("Model"),                                                                        \
        OPT_U32('t', "threads", s, member.threads, "N", 1, 1024, "threads that compute",       \
                .default_text = "one for every usable core"),                                  \
        OPT_U32('c', "context", s, member.context, "N", 1, 16777216,                           \
                "longest conversation, in tokens",                                             \
                .default_text = "what the model was trained with, at most 4096"),              \
        OPT_STRING(0, "chat-format", s, member.chat_format, "NAME", "how messages are framed", \
                   .choices = "chatml|llama2|llama3|zephyr|plain",                             \
                   .default_text = "as the model file says"),                                  \
        OPT_STRING(0, "pack", s, member.pack, "WHEN",                                          \
                   "whether weights are laid out for this processor, once, see llmos-pack(1)", \
                   .choices = "auto|off", .default_text = "auto: models above 32 MiB"),        \
        OPT_STRING(0, "kv-type", s, member.kv_type, "TYPE",                                    \
                   "how keys and values are kept: q8_0 takes about half the memory of f16",    \
                   .choices = "f16|q8_0", .default_text = "f16")

#define TALK_DRAFT_MAX                                                         \
    8 /* unless the user says another; longer ones are seldom right to the end \
       */
#define TALK_DRAFT_OPTIONS(s, member)                                                           \
    OPT_GROUP("Speculation"),                                                                   \
        OPT_STRING(0, "draft-lookup", s, member.draft_lookup, "HOW",                            \
                   "guess ahead what followed the same words before: the same answer, sooner "  \
                   "where it quotes",                                                           \
                   .choices = "on|off", .default_text = "off"),                                 \
        OPT_STRING(0, "draft", s, member.draft, "MODEL",                                        \
                   "guess ahead what this model says: a smaller one with the same vocabulary"), \
        OPT_U32(0, "draft-max", s, member.draft_max, "N", 1, 16, "most tokens guessed ahead",   \
                .default_text = "8")

#define TALK_ROOM_OPTIONS(s, member)                                                 \
    OPT_GROUP("Isolation"),                                                          \
        OPT_FLAG('i', "isolation", s, member.isolation,                              \
                 "tell on standard error which layers of isolation hold"),           \
        OPT_LIST(0, "require-layer", s, member.require_layers, "LAYER",              \
                 "refuse to start unless this layer holds", .choices = TALK_LAYERS), \
        OPT_LIST(0, "skip-layer", s, member.skip_layers, "LAYER",                    \
                 "do without this layer, see --require-layer"),                      \
        OPT_SIZE('m', "memory", s, member.memory, "SIZE", 16u << 20, UINT64_MAX,     \
                 "most memory of the VCE, weights not counted",                      \
                 .default_text = "a generous share of what is free")

struct talk {
    struct worker *worker;
    struct packcache *packcache; /* NULL: none is used */
    const char *path;            /* of the model, or its name: the caller's */
    uint64_t id;                 /* of the last request */
    double patience_seconds;     /* how long an engine may go on after Ctrl-C; then it is ended */
    struct spinner spinner;
    /* Of READY. */
    struct arena labels;        /* where those of ready stand */
    struct message_ready ready; /* its other strings are empty: */
    char architecture[64], name[128], file_type[32], chat_format[32], thought_format[32],
        backend[32], kv_type[32];
};

/* What a worker of that model is to be, as the options say; `name` is made of the path, and the
 * worker's name points to it. */
int talk_fill(struct worker_options *w, const struct talk_options *options, const char *model_path,
              char *name, size_t name_size, struct llmos_error *err);

/* Starts the VCE and waits until the model is loaded.  On failure *t is to be talk_end'ed all the
 * same. */
int talk_start(struct talk *t, const char *model_path, enum message_purpose purpose,
               const struct talk_options *options, struct llmos_error *err);
void talk_end(struct talk *t); /* a zeroed one is fine */

/* Pieces of an answer; a negative code from the sink cancels the request and is passed on. */
typedef int (*talk_sink)(void *cookie, struct str text, struct llmos_error *err);

/* Asks and listens until the answer is complete.  LLMOS_ECANCELED: the user halted it; the engine
 * has acknowledged, and *done tells what was made until then.  LLMOS_ECLOSED: the engine is gone,
 * perhaps because it did not heed a Ctrl-C, or the user pressed it again.
 */
int talk_generate(struct talk *t, struct message_generate *g, talk_sink sink, void *cookie,
                  struct message_done *done, struct llmos_error *err);

/* Sends a request that DATA (bytes) or TOKENS (int32 each) frames answer, appended to out. PROGRESS
 * is drawn as a bar called `what`. */
int talk_ask(struct talk *t, struct message *question, const char *what, struct buf *out,
             struct llmos_error *err);

/* Parts of talk_ask, for those that ask several things at once: sends a request, whose id is set;
 * and 1: a message; 0: none within a moment. */
int talk_send(struct talk *t, struct message *question, struct llmos_error *err);
int talk_hear(struct talk *t, struct message *m, struct llmos_error *err);

/* Which layers hold, as `llmos ps --isolation` shows them. */
void talk_put_isolation(const struct talk *t, struct buf *out);

#endif
