/* SPDX-License-Identifier: Apache-2.0 */
/* ask.h - how an answer is chosen, as options of the verbs that ask: run and chat. */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "base/opt.h"
#include "net/message.h"

struct ask_options {
    uint32_t max_tokens, top_k, repeat_last;
    float temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    uint64_t seed; /* ASK_SEED_RANDOM: another one each time */
    struct opt_list stops, choices;
    const char *grammar, *json_schema,
        *regex; /* what the answer must be; one of them, or choices */
    const char *thoughts;
};

/* What --thoughts says of a model that thinks before it answers. */
bool ask_hides_thoughts(const struct ask_options *o);
bool ask_wants_thoughts(const struct ask_options *o);

/* What the answer must be, as a grammar; the buffer stays empty if nothing is said. */
int ask_form(const struct ask_options *o, struct buf *grammar, struct llmos_error *err);

#define ASK_SEED_RANDOM UINT64_MAX

#define ASK_OPTIONS_INIT                                                                     \
    {                                                                                        \
        .top_k = 40, .repeat_last = 64, .temperature = 0.8f, .top_p = 0.95f, .min_p = 0.05f, \
        .repeat_penalty = 1.0f, .seed = ASK_SEED_RANDOM                                      \
    }

#define ASK_OPTIONS(s, member)                                                               \
    OPT_GROUP("Answer"),                                                                     \
        OPT_U32('n', "max-tokens", s, member.max_tokens, "N", 1, UINT32_MAX,                 \
                "most tokens to make", .default_text = "until the model ends"),              \
        OPT_FLOAT('T', "temperature", s, member.temperature, "X", 0, 100,                    \
                  "0 takes the likeliest token, more is more varied"),                       \
        OPT_U32('k', "top-k", s, member.top_k, "N", 0, UINT32_MAX,                           \
                "choose among the N likeliest tokens; 0: all"),                              \
        OPT_FLOAT('p', "top-p", s, member.top_p, "X", 0, 1,                                  \
                  "choose among the likeliest tokens that make up this share"),              \
        OPT_FLOAT(0, "min-p", s, member.min_p, "X", 0, 1,                                    \
                  "leave out tokens less likely than this share of the likeliest"),          \
        OPT_FLOAT(0, "repeat-penalty", s, member.repeat_penalty, "X", 0.01, 100,             \
                  "above 1, tokens that came lately become less likely"),                    \
        OPT_U32(0, "repeat-last", s, member.repeat_last, "N", 1, UINT32_MAX,                 \
                "tokens that --repeat-penalty looks back on"),                               \
        OPT_FLOAT(0, "presence-penalty", s, member.presence_penalty, "X", -2, 2,             \
                  "taken from tokens that the answer has"),                                  \
        OPT_FLOAT(0, "frequency-penalty", s, member.frequency_penalty, "X", -2, 2,           \
                  "taken from tokens each time the answer has them"),                        \
        OPT_U64('s', "seed", s, member.seed, "N", 0, UINT64_MAX,                             \
                "the same seed gives the same answer", .default_text = "random"),            \
        OPT_STRING(0, "thoughts", s, member.thoughts, "HOW",                                 \
                   "what a model thinks before it answers: show it on standard error, hide " \
                   "it, or ask it not to think",                                             \
                   .choices = "show|hide|off", .default_text = "show"),                      \
        OPT_LIST(0, "stop", s, member.stops, "TEXT",                                         \
                 "end the answer where this text would begin"),                              \
        OPT_GROUP("Form of the answer"),                                                     \
        OPT_STRING(0, "json-schema", s, member.json_schema, "FILE|JSON",                     \
                   "make JSON that is valid for this schema; '{}': any JSON"),               \
        OPT_STRING(0, "grammar", s, member.grammar, "FILE",                                  \
                   "make a text of this grammar, in the GBNF notation of llama.cpp"),        \
        OPT_STRING(0, "regex", s, member.regex, "REGEX",                                     \
                   "make a text that this regular expression matches, all of it"),           \
        OPT_LIST(0, "choice", s, member.choices, "TEXT",                                     \
                 "make one of these texts; give it once for each")

/* Everything but the prompt.  The grammar is put into the buffer, which must outlive g.
 * LLMOS_ELIMIT: too many stop strings, or too long ones; and what is wrong with the form of the
 * answer. */
int ask_fill(struct message_generate *g, const struct ask_options *o, struct buf *grammar,
             struct llmos_error *err);

#endif
