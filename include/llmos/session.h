/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - the narrow waist: one sequence with its state, "give it tokens, get the next one".
 *
 * A context owns what sequences share: worker threads, scratch memory, and the pool of KV pages.  A
 * session is one sequence in a context: the tokens it has seen, their keys and values, and how it
 * samples.  Several sessions advance together in one batch:
 *
 *     llmos_session_append(s, prompt, n, &err);
 *     while (...) {
 *         llmos_context_step(c, &s, 1, &out, &err);      // a chunk of prompt, or one new token
 *         if (out.token >= 0)
 *             print(out.token);
 *     }
 *
 * Same seed, same bytes: what a session samples depends on its tokens and its options alone, not on
 * the sessions beside it, the number of threads, how its prompt was cut into chunks, or how much of
 * it was found in the cache.  (Which of its tokens were appended and which were sampled may matter:
 * where many tokens are best multiplied in another way than one, prompts are.)
 *
 * One thread at a time drives a context and its sessions. */
#ifndef LLMOS_SESSION_H
#define LLMOS_SESSION_H

#include "llmos/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llmos_context llmos_context;
typedef struct llmos_session llmos_session;

struct llmos_context_options {
    uint32_t threads; /* 0: 1 */
    uint32_t
        context_tokens;    /* longest sequence; 0: what the model was trained with, at most 4096 */
    uint32_t sessions_max; /* alive at a time; 0: 1 */
    uint32_t kv_tokens;    /* pool for all sessions together, at least context_tokens; 0:
                              context_tokens * sessions_max */
    uint32_t batch_tokens; /* most tokens computed in one step, but one for every session that
                              decodes; 0: 512 */
    uint64_t
        memory_max_bytes; /* everything the context may allocate, grammars included; 0: no limit */
    uint32_t draft_max; /* most tokens guessed ahead of a sequence, at most LLMOS_DRAFT_MAX; 0: none
                         */
    bool draft_lookup;  /* guess what followed the same tokens earlier in the sequence */
    const llmos_model *draft_model; /* where that finds nothing, guess what this one says; smaller,
                                       with the same vocabulary; must outlive the context */
    /* How the pool keeps keys and values: "f16" (NULL or "": that), or "q8_0", blocks of 32 numbers
     * of 8 bits with an f16 scale, which take little more than half the memory and half the time to
     * read behind a long context.  What is sampled changes a little. */
    const char *kv_type;
};
#define LLMOS_CONTEXT_OPTIONS_INIT             \
    {                                          \
        0, 0, 0, 0, 0, 0, 0, false, NULL, NULL \
    }
#define LLMOS_DRAFT_MAX 16 /* longer ones are seldom right to their end */

/* Guesses ("speculative decoding", Leviathan et al. 2023, arXiv 2211.17192) are computed beside the
 * next token in one step, and count as far as the session then samples the same: it says what it
 * would say without, sooner where they are right.  How many are made follows from how often they
 * were right and from what steps of more tokens took; where they do not pay, none.  Sessions that
 * report log-probabilities make none. */

/* All memory is reserved here and reported before the fact: LLMOS_ENOMEM says "32768 tokens of
 * context need 9.1 GiB, 6.4 GiB are free; try --context 16384".  The model must outlive the
 * context. */
LLMOS_API int llmos_context_create(llmos_context **context, const llmos_model *model,
                                   const struct llmos_context_options *options,
                                   struct llmos_error *err);
LLMOS_API void
llmos_context_destroy(llmos_context *context); /* its sessions must be gone; NULL is fine */

struct llmos_context_info {
    uint32_t context_tokens, threads;
    uint64_t kv_bytes, scratch_bytes;
    uint64_t grammar_bytes; /* of grammars in use and kept for the next one, and of the vocabulary
                               as they need it, now; 0 until the first one */
    uint32_t kv_tokens_total, kv_tokens_free; /* free: can be had at once */
    uint32_t kv_tokens_cached; /* of the free ones, those that hold beginnings for sessions to come
                                */
    const char *backend;       /* "avx512vnni" */
    const char *kv_type;       /* "f16" or "q8_0" */
};
LLMOS_API void llmos_context_info(const llmos_context *context, struct llmos_context_info *info);

struct llmos_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -100 or less bans the token */
};

/* How the next token is chosen.  Order: logit bias, penalties, then greedy if temperature is 0;
 * else top-k, temperature, top-p, min-p, and a draw.  The same options as everywhere: */
struct llmos_sampling {
    float temperature;       /* 0: greedy (the lowest id among equals) */
    uint32_t top_k;          /* 0: all */
    float top_p;             /* 1: all (Holtzman et al. 2020) */
    float min_p;             /* 0: all; keep p >= min_p * max p (Nguyen et al. 2024) */
    float repeat_penalty;    /* 1: none (Keskar et al. 2019): divides positive, multiplies negative
                                logits */
    float presence_penalty;  /* 0: none; subtracted once from tokens generated so far */
    float frequency_penalty; /* 0: none; subtracted per occurrence among the generated tokens */
    uint32_t repeat_last;    /* tokens that repeat_penalty looks back on, prompt included; 0: 64 */
    uint64_t seed;
    const struct llmos_logit_bias *bias; /* copied; at most LLMOS_BIAS_MAX */
    size_t bias_count;
    uint32_t logprobs; /* most likely alternatives to report, at most LLMOS_LOGPROBS_MAX */
    bool want_logprob; /* report the log-probability of the chosen token (of the model's
                          distribution) */
};
#define LLMOS_SAMPLING_INIT                                               \
    {                                                                     \
        0.8f, 40, 0.95f, 0.05f, 1.0f, 0.0f, 0.0f, 0, 0, NULL, 0, 0, false \
    }
#define LLMOS_LOGPROBS_MAX 20
#define LLMOS_BIAS_MAX     1024 /* the usual clients send 300 at most */

/* LLMOS_EINVAL names the option that is out of range (NaN included); LLMOS_EBUSY: sessions_max are
 * alive. */
LLMOS_API int llmos_session_create(llmos_session **session, llmos_context *context,
                                   const struct llmos_sampling *sampling, struct llmos_error *err);
LLMOS_API void
llmos_session_destroy(llmos_session *session); /* gives its pages back; NULL is fine */

/* With whom the session shares: sessions of one domain go on behind each other's pages where their
 * tokens begin alike, also those of sessions that have ended, as long as nobody needs the memory.
 *
 * LLMOS_DOMAIN_PRIVATE, the default, shares with nobody: how soon an answer comes tells whether
 * somebody has asked something that begins like it, and a library cannot know who may learn that of
 * whom.  A program that works for one person, or for people who may know, gives all its sessions
 * LLMOS_DOMAIN_COMMON; one that works for several gives each a number of its own, below 2^63.
 *
 * Only before the first token is queued, else LLMOS_EINVAL. */
#define LLMOS_DOMAIN_PRIVATE 0
#define LLMOS_DOMAIN_COMMON  1
LLMOS_API int llmos_session_set_domain(llmos_session *session, uint64_t domain,
                                       struct llmos_error *err);

/* Queues tokens behind what the session has seen.  LLMOS_ECONTEXT: they do not fit; the text names
 * both lengths and nothing is queued.  LLMOS_EINVAL: an id outside the vocabulary. */
LLMOS_API int llmos_session_append(llmos_session *session, const int32_t *tokens, size_t count,
                                   struct llmos_error *err);

/* Which texts a session may say: a grammar in GBNF, the notation of llama.cpp, with a rule `root`
 * (infer/grammar.h has the limits). */
struct llmos_grammar {
    const char *text;
    size_t length;
    /* A space with which the first token begins does not count: tokenizers that write a space in
     * front of every text put it there. */
    bool drops_space;
    const char *begun; /* what its texts begin with was said before: at most LLMOS_BEGUN_MAX bytes
                        */
    size_t begun_length;
    /* Control tokens whose names are text of the grammar ("[TOOL_CALLS]"), where it has them; all
     * others may never come.  At most LLMOS_MARKS_MAX; names that are no control token do nothing.
     */
    const char *const *marks;
    size_t mark_count;
};
#define LLMOS_BEGUN_MAX 64
#define LLMOS_MARKS_MAX 16

/* From now on the session samples only what the grammar allows: the tokens behind those that are
 * there, their texts joined, are a beginning of one of its texts, and the model's end tokens come
 * only where such a text is complete.  Tokens may be appended where it allows them (else
 * LLMOS_EINVAL).  What is sampled follows from the options and the grammar alone, with guesses or
 * without.  Compiled grammars are kept for sessions of the same domain.
 * LLMOS_EFORMAT: the text is no such grammar; LLMOS_ELIMIT: it is too large, or too ambiguous;
 * LLMOS_EINVAL: no text of it goes on behind `begun`;
 * LLMOS_ENOMEM: also if the context leaves too little of its memory_max_bytes. */
LLMOS_API int llmos_session_set_grammar(llmos_session *session, const struct llmos_grammar *grammar,
                                        struct llmos_error *err);

/* Compiles it and keeps it for the sessions of the domain: whether they may have it. */
LLMOS_API int llmos_context_check_grammar(llmos_context *context,
                                          const struct llmos_grammar *grammar, uint64_t domain,
                                          struct llmos_error *err);

struct llmos_token_logprob {
    int32_t token;
    float logprob; /* natural logarithm */
};

struct llmos_step_out {
    int32_t token; /* the token that was sampled, or -1: only prompt was computed, or the context is
                      full */
    bool context_full; /* no room for another token: the sequence has ended (token is -1) */
    bool starved; /* no KV page was free: nothing was computed for this session; try again later */
    uint32_t computed;   /* tokens of this session that went through the model in this step, guesses
                            that were wrong not counted */
    uint32_t drafted;    /* guesses that were tried */
    uint32_t more_count; /* of them, those that were right: so many tokens more, */
    int32_t more[LLMOS_DRAFT_MAX]; /* sampled behind `token` in this step */
    bool complete;      /* the session has a grammar, and nothing may follow but an end token */
    float logprob;      /* of token, if wanted */
    uint32_t top_count; /* most likely first */
    struct llmos_token_logprob top[LLMOS_LOGPROBS_MAX];
};

/* Advances the sessions, all of this context, each once, together.  A sampled token is queued
 * by itself: the next step continues behind it.  Every session that decodes gets one token, and
 * more where its guesses were right; prompt chunks share what that leaves of batch_tokens, but
 * at least one token, first sessions first; a session that got no share, or waits for a page of
 * its domain that another computes in this step, has computed == 0 and token == -1.
 * LLMOS_EFORMAT: for one of them, which the text names by its place, the model computes no
 * number; LLMOS_ENOTFOUND: its grammar (with its bias) leaves no token; LLMOS_ENOMEM, LLMOS_ELIMIT:
 * following its grammar takes too much memory.  No session has changed, and the others can be
 * stepped without it.
 *
 * A model with longrope (Phi-3 of 128k, Phi-4-mini) rotates short sequences by other factors than
 * long ones.  One that outgrows the length up to which they are short is computed again from its
 * first token on, once, as transformers does: so its tokens alone decide what it says, but the next
 * token comes as late as behind a prompt of that length. */
LLMOS_API int llmos_context_step(llmos_context *context, llmos_session *const *sessions,
                                 size_t count, struct llmos_step_out *out, struct llmos_error *err);

/* Forgets all but the first `length` tokens; as it is if there are no more.  What was computed of
 * them mostly stays so: at most a page (64 tokens) that is shared with others is computed or copied
 * again.  Draws go on where they are, they are not taken back.  A step samples behind a token that
 * it computes: to sample again behind the last that stays, cut one more and append it. */
LLMOS_API void llmos_session_truncate(llmos_session *session, size_t length);

LLMOS_API size_t llmos_session_length(const llmos_session *session);  /* tokens seen and queued */
LLMOS_API size_t llmos_session_pending(const llmos_session *session); /* queued, not yet computed */

/* Tokens that were not computed, because the cache had them: never the last one that was appended.
 * They are found when a step comes to them, so the number is final when the first token is sampled.
 */
LLMOS_API size_t llmos_session_cached(const llmos_session *session);

/* Logits of the last computed position, llmos_token_count floats, valid until the next step; NULL
 * before. For evaluation (perplexity) and tests. */
LLMOS_API const float *llmos_session_logits(const llmos_session *session);

#ifdef __cplusplus
}
#endif

#endif
