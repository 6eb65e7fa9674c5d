/* SPDX-License-Identifier: Apache-2.0 */
/* message.h - what daemon (or CLI) and engine say to each other, as structs; encoded into frames.
 *
 * message_parse checks every field of a frame: lengths, counts, enums, finite numbers, valid
 * ranges.  Strings are slices of the frame.  The host believes nothing an engine says: texts are
 * arbitrary bytes until the host has checked their UTF-8, numbers are clamped for display only.
 * docs/PROTOCOL.md has the field lists. */
#ifndef NET_MESSAGE_H
#define NET_MESSAGE_H

#include "base/arena.h"
#include "net/frame.h"

#define MESSAGE_STOPS_MAX         16
#define MESSAGE_STOP_BYTES_MAX    1024
#define MESSAGE_MARKS_MAX         16
#define MESSAGE_MARK_BYTES_MAX    64
#define MESSAGE_BIAS_MAX          1024
#define MESSAGE_TOP_MAX           20
#define MESSAGE_LOGPROBS_MAX      1024 /* tokens of one TEXT frame: 0.6 MiB where they are parsed */
#define MESSAGE_NAME_BYTES_MAX    256  /* names and roles; who sends a longer one cuts it */
#define MESSAGE_ERROR_BYTES_MAX   1024
#define MESSAGE_GRAMMAR_BYTES_MAX (1u << 20)
#define MESSAGE_FILES_MAX         144         /* of a folder */
#define MESSAGE_PARTS_MAX         128         /* of a model */
#define MESSAGE_LABELS_MAX        4096        /* of a classifier: READY holds them all */
#define MESSAGE_LABEL_BYTES_MAX   128         /* longer ones are cut */
#define MESSAGE_WIDTH_MAX         65536       /* numbers of a vector: a row fits a frame */
#define MESSAGE_PIECE_BYTES_MAX   1024        /* of a token */
#define MESSAGE_ARENA_BYTES       (32u << 20) /* more than any parse asks of its arena */

enum message_type {
    /* host to engine */
    MESSAGE_SETUP = 1, /* once, first */
    MESSAGE_GENERATE,
    MESSAGE_CANCEL,   /* no payload; the engine answers DONE (canceled) if the answer was alive, and
                         ERROR (LLMOS_ECANCELED) if it was one of those that need the engine for
                         themselves (BENCH, PACK, QUANTIZE, EVALUATE, CONVERT), or an ENCODE;
                         nothing if it was over */
    MESSAGE_TOKENIZE, /* answered by TOKENS frames */
    MESSAGE_INSPECT,  /* answered by DATA frames: JSON */
    MESSAGE_BENCH,    /* answered by PROGRESS and DATA frames: JSON */
    MESSAGE_PACK,     /* no payload; answered by PROGRESS frames and PACKED */
    MESSAGE_RENDER,   /* answered by DATA frames: a conversation as the chat template writes it */
    MESSAGE_QUANTIZE, /* answered by PROGRESS and DATA frames: JSON */
    MESSAGE_EVALUATE, /* answered by PROGRESS and DATA frames: JSON */
    MESSAGE_CONVERT,  /* answered by PROGRESS frames and PACKED */
    MESSAGE_ENCODE,   /* answered by VECTOR frames */
    /* engine to host */
    MESSAGE_READY = 64, /* once: the model is loaded */
    MESSAGE_TEXT,
    MESSAGE_DONE,
    MESSAGE_ERROR, /* id 0: the engine gives up; it ends after this */
    MESSAGE_TOKENS,
    MESSAGE_DATA,
    MESSAGE_PROGRESS,
    MESSAGE_STATS, /* unasked: at most 4 a second while working, and one when work ends */
    MESSAGE_PACKED,
    MESSAGE_VECTOR,
};

enum message_purpose {
    PURPOSE_RUN,
    PURPOSE_TOKENIZE,
    PURPOSE_INSPECT,
    PURPOSE_PACK,
    PURPOSE_QUANTIZE, /* nothing is loaded: the file is read tensor by tensor */
    PURPOSE_EVALUATE, /* the weights, and those of a base model if draft_model says so */
    PURPOSE_CONVERT,  /* there is no model yet */
    PURPOSE_ENCODE,   /* all, with an encoder in place of a context */
};

struct message_setup {
    uint8_t purpose; /* what must be loaded */
    bool has_packed; /* there is a file of packed weights: use it */
    uint32_t threads, context_tokens, sessions_max, kv_tokens, batch_tokens;
    uint64_t memory_max_bytes;
    struct str chat_format;            /* empty: as the file says */
    uint32_t draft_max;                /* most tokens guessed ahead; 0: none */
    bool draft_lookup;                 /* guess what followed the same tokens before */
    bool draft_model;                  /* the engine has a second model, to guess with */
    struct str kv_type;                /* empty: f16 */
    uint32_t model_parts, draft_parts; /* files that they are in; 0: 1 */
};

enum message_prompt { PROMPT_TEXT, PROMPT_TOKENS, PROMPT_CHAT };

struct message_generate {
    uint8_t prompt_kind;
    struct str text;       /* PROMPT_TEXT: BOS as the model says; special tokens are text.
                              PROMPT_CHAT: the conversation, JSON as llmos_chat_render takes it */
    struct str begun;      /* PROMPT_CHAT: if the prompt ends with it, the answer begins with it */
    const int32_t *tokens; /* PROMPT_TOKENS, in the arena of the parse */
    uint32_t count;        /* of tokens */
    uint32_t max_tokens;   /* 0: as many as fit */
    float temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    uint32_t top_k, repeat_last;
    uint64_t seed;
    bool echo;         /* the prompt's text comes first */
    bool ignore_eos;   /* go on behind the end token: benchmarks */
    bool want_logprob; /* TEXT frames carry logprobs */
    uint32_t top_logprobs;
    uint32_t stop_count;
    struct str stops[MESSAGE_STOPS_MAX]; /* not empty each; not part of the answer */
    uint32_t mark_count;
    struct str
        marks[MESSAGE_MARKS_MAX]; /* control tokens that are text of the answer: [TOOL_CALLS] */
    struct str grammar;           /* what the answer must be, as GBNF; empty: anything */
    uint32_t bias_count;
    struct {
        int32_t token;
        float bias;
    } * bias;
};

struct message_tokenize {
    struct str text;
    bool add_bos, parse_special;
};

struct message_render {
    struct str conversation; /* JSON, as llmos_chat_render takes it */
};

struct message_bench {
    uint32_t prompt, generate; /* tokens, of each sequence */
    uint32_t depth, sequences; /* tokens before them; sequences side by side */
    bool want_limits;          /* measure what the machine can do, too */
    struct str grammar;        /* of what is made, as GBNF; empty: none */
};

struct message_quantize {
    struct str type;     /* a mix: "Q4_K_M" */
    bool has_importance; /* there is a file of them */
    bool requantize;
};

/* IMPORTANCE: the sums go to the output file. */
enum message_evaluation { EVALUATE_PERPLEXITY, EVALUATE_IMPORTANCE };

struct message_evaluate {
    uint8_t kind;
    uint32_t chunk_tokens, chunks_max; /* 0: all of the text */
    struct str name, text;             /* of the text */
};

/* A folder's files, whose descriptors stand one behind the other, become a model file. */
struct message_convert {
    struct str type, name; /* of matrices: "auto", ...; of the model, for people */
    uint32_t count;
    struct str *files; /* their names; in the arena of the parse */
};

/* EMBED: a vector for the text; CLASSIFY: scores, before any softmax. */
enum message_encoding { ENCODE_EMBED, ENCODE_CLASSIFY };
enum message_encode_input { ENCODE_TEXT, ENCODE_PAIR, ENCODE_TOKENS };

/* A text longer than the model takes is an error, unless `cuts`: then its end is left out, of a
 * pair that of the second. */
struct message_encode {
    uint8_t kind, input;
    bool normalizes, cuts;
    struct str text, second; /* second: of a pair */
    const int32_t *tokens;   /* taken as they are; in the arena of the parse */
    uint32_t count;
};

/* What an encoder's scores are about, as enum llmos_classifier has it. */
enum message_classifier { CLASSIFIER_NONE, CLASSIFIER_SEQUENCE, CLASSIFIER_TOKEN, CLASSIFIER_RANK };

/* DAMAGED: the file that was given is not of this model or not whole; the model runs without. */
enum message_packing { PACKING_NONE, PACKING_USED, PACKING_DAMAGED };

struct message_ready {
    struct str architecture, name, file_type, chat_format, tool_format, thought_format, backend,
        kv_type;
    uint32_t context_tokens, context_trained, vocabulary, threads;
    uint64_t parameters, weight_bytes, kv_bytes, scratch_bytes;
    uint32_t load_us; /* from SETUP to READY */
    uint8_t packing;
    /* Of an encoder; context_tokens are the most of a text. */
    uint8_t classifier;
    uint32_t vector_width, label_count;
    struct str *labels; /* in the arena of the parse */
};

struct message_logprob {
    struct str token; /* its bytes */
    int32_t id;
    float logprob;
};

/* A piece of the answer: whole UTF-8 characters, nothing that could still become a stop string. One
 * frame may cover several tokens, and a token may give no text. */
struct message_text {
    struct str text;
    uint32_t tokens; /* generated since the last TEXT frame of this request */
    /* Of these tokens, in order; 0 unless wanted.  Fewer than tokens only where a stop string was
     * found: tokens that lie in it are counted, but are no part of the answer. */
    uint32_t logprob_count;
    struct message_token_logprobs {
        struct message_logprob chosen;
        uint32_t text_offset; /* in bytes of the whole answer */
        uint32_t top_count;
        struct message_logprob top[MESSAGE_TOP_MAX];
    } * logprobs;
};

enum message_finish { FINISH_STOP, FINISH_LENGTH, FINISH_CANCELED };

struct message_done {
    uint8_t finish;
    uint32_t prompt_tokens, cached_tokens, completion_tokens;
    uint32_t drafted_tokens, accepted_tokens; /* guesses, and those of them that were right */
    uint64_t queue_us, prompt_us, generate_us;
};

struct message_error {
    int32_t code; /* LLMOS_E* */
    struct str text;
};

struct message_tokens {
    const int32_t *tokens;
    uint32_t count;
    bool last;
};

struct message_data {
    struct str bytes;
    bool last;
};

/* Of a PACK or CONVERT. */
struct message_packed {
    bool helps;     /* false: nothing was written, this processor reads the model as it is */
    uint64_t bytes; /* of the file */
};

/* Rows of numbers, finite each: one for a text, or one for each of its tokens. */
struct message_vector {
    bool last;
    uint32_t tokens, cut; /* of the text; left out of it */
    uint32_t width, rows;
    const struct str *pieces; /* of the tokens, a row each; empty where a row is for a text, and of
                                 control tokens */
    const float *values;      /* rows * width */
};

struct message_progress {
    uint64_t done, total;
};

struct message_stats {
    uint32_t running, waiting, kv_tokens_used, kv_tokens_total;
    uint64_t prompt_tokens, generated_tokens; /* totals since start */
    uint64_t prompt_us, generate_us;          /* time spent on them */
    uint64_t steps, step_sequences;           /* step_sequences / steps = mean batch */
    uint64_t drafted_tokens, accepted_tokens; /* guesses, and those that were right */
};

struct message {
    uint16_t type;
    uint64_t id;
    union {
        struct message_setup setup;
        struct message_generate generate;
        struct message_tokenize tokenize;
        struct message_bench bench;
        struct message_render render;
        struct message_quantize quantize;
        struct message_evaluate evaluate;
        struct message_convert convert;
        struct message_encode encode;
        struct message_ready ready;
        struct message_text text;
        struct message_done done;
        struct message_error error;
        struct message_tokens tokens;
        struct message_data data;
        struct message_progress progress;
        struct message_stats stats;
        struct message_packed packed;
        struct message_vector vector;
    };
};

/* Appends the message as one frame.  Parts that the other side would refuse for their length or
 * number make the buffer bad (and leave no trace in it). */
void message_put(struct buf *out, const struct message *m);

/* Arrays go to the arena.  LLMOS_EFORMAT names the field. `from_engine` says which types are
 * allowed. */
int message_parse(struct message *m, const struct frame *f, bool from_engine, struct arena *arena,
                  struct llmos_error *err);

const char *message_finish_name(int finish); /* "stop", "length", "canceled" */

#endif
