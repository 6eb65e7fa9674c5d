/* SPDX-License-Identifier: Apache-2.0 */
/* encode.h - the lines of standard input through an encoder: what embed, classify and rerank share.
 *
 * Several texts are in flight, so that neither the engine waits for the input nor the input for the
 * engine; answers come in the order of the lines.  Empty lines are passed over and counted. */
#ifndef CLI_ENCODE_H
#define CLI_ENCODE_H

#include "cli/talk.h"

struct encode_options {
    bool truncate;
    const char *scores; /* NULL: softmax, of one label sigmoid */
    struct talk_options room;
};

#define ENCODE_TEXT_OPTIONS(s, member)                                                           \
    OPT_FLAG(0, "truncate", s, member.truncate,                                                  \
             "leave out the end of a text that is longer than the model takes; else that is an " \
             "error")

#define ENCODE_SCORE_OPTIONS(s, member)                                                     \
    OPT_STRING(0, "scores", s, member.scores, "HOW",                                        \
               "how the model's numbers become scores: softmax, together 1; sigmoid, each " \
               "from 0 to 1; raw, as they are",                                             \
               .choices = "softmax|sigmoid|raw", .default_text = "softmax, of one label sigmoid")

#define ENCODE_MODEL_OPTIONS(s, member)                                                        \
    OPT_GROUP("Model"),                                                                        \
        OPT_U32('t', "threads", s, member.room.threads, "N", 1, 1024, "threads that compute",  \
                .default_text = "one for every usable core"),                                  \
        OPT_U32('c', "context", s, member.room.context, "N", 8, 16777216,                      \
                "longest text, in tokens",                                                     \
                .default_text = "what the model was trained with, at most 8192"),              \
        OPT_STRING(0, "pack", s, member.room.pack, "WHEN",                                     \
                   "whether weights are laid out for this processor, once, see llmos-pack(1)", \
                   .choices = "auto|off", .default_text = "auto: models above 32 MiB")

/* What the man pages of all say of the input. */
#define ENCODE_ABOUT_LINES                                                                         \
    "Each line of standard input is a text, of at most 1 MiB; bytes that are no UTF-8 go to the "  \
    "tokenizer as they are. Empty lines are passed over, but count: 'index' is the number of the " \
    "line, from 0. The first text that the model cannot take (too many tokens, say) ends the "     \
    "verb with exit code 1; what was printed before stands."
#define ENCODE_ABOUT_CUT                                                                        \
    "With --truncate each object also has 'tokens_cut', how many tokens of the text were left " \
    "out."
#define ENCODE_ABOUT_EXIT                                                                        \
    "The exit code is 0 when all was answered, 1 when something failed, 2 for a mistake in the " \
    "command line, 130 after Ctrl-C, and 141 when nobody reads the output any more."

/* The answer to a text.  Valid during the call that brings it. */
struct encoded {
    uint64_t index; /* of its line, from 0 */
    struct str text;
    uint32_t tokens, cut, width, rows;
    const struct str *pieces; /* of the tokens, a row each, where rows are of tokens */
    const float *values;      /* rows * width */
};

typedef int (*encode_sink)(void *cookie, const struct encoded *e, struct llmos_error *err);

struct encode_job {
    /* What is asked of each text.  ENCODE_PAIR: lines are pairs parted by a tab; unless `text` is
     * given, with which each line makes a pair. */
    struct message_encode how;
    const char *what; /* for the bar: "embedding" */
    encode_sink sink;
    void *cookie;
};

/* Until the input ends.  LLMOS_ECANCELED: the user halted it; else what the sink said, or what is
 * wrong with a line, which is named. */
int encode_lines(struct talk *t, const struct encode_job *job, struct llmos_error *err);

/* Scores[count] as `how` (encode_options.scores) makes them of the model's numbers. */
void encode_scores(const float *values, uint32_t count, const char *how, double *scores);

/* Appends ", "tokens_cut": N" where that is wanted. */
void encode_put_cut(struct buf *out, const struct encode_options *o, uint32_t cut);

/* Sends one JSON object and its newline to standard output.  LLMOS_ECLOSED, LLMOS_EIO: *code is the
 * exit code, and what had to be told was. */
int encode_print(struct buf *line, int *code, struct llmos_error *err);

/* The exit code after a failure; tells it, unless writing failed with `code`. */
int encode_failed(int code, const struct llmos_error *err);

#endif
