/* SPDX-License-Identifier: Apache-2.0 */
/* speech.h - from tokens to text that may be shown: whole characters, and no part of a stop string.
 *
 * Bytes of tokens go in, text comes out as early as it is certain: a character that is not complete
 * waits for its rest, and an end that could still become a stop string waits until it does or
 * cannot.  Bytes that no character can begin with or go on with become U+FFFD.  A stop string is
 * found wherever token boundaries fall; of several, the one that is complete first counts, and of
 * those the one that began first.  Log-probabilities wait with the text of their token; tokens that
 * lie in the stop string are dropped. */
#ifndef ENGINE_SPEECH_H
#define ENGINE_SPEECH_H

#include "net/message.h"

struct speech {
    const struct str *stops; /* the caller's */
    uint32_t stop_count;
    bool drop_space; /* the next byte, if it is a space, belongs to the tokenizer, not the text */
    char open[4];    /* bytes that may become a character */
    size_t open_count;
    struct buf text; /* the rest behind `certain` may become a stop string */
    size_t certain;  /* bytes of text */
    size_t given;    /* handed out by the last take, gone with the next call */
    uint64_t taken;  /* bytes of the answer that have left */
    uint32_t tokens; /* put since the last take, without those in the queue */
    bool is_stopped; /* a stop string is complete: the answer has ended */
    bool is_bad;     /* no memory */
    bool want_logprobs;
    struct speech_logprobs {
        struct message_token_logprobs l;
        uint64_t begin, end; /* in bytes of the answer */
    } * queue;
    size_t queue_count, queue_room;
};

/* Nothing is allocated yet. */
void speech_init(struct speech *a, const struct str *stops, uint32_t stop_count,
                 bool want_logprobs);
void speech_fini(struct speech *a);

/* Text that is no token's: the prompt, when it is echoed.  No stop string is looked for. */
void speech_echo(struct speech *a, struct str text);

/* One token: its bytes, and its log-probabilities (NULL unless wanted; copied, what they point at
 * must stay).  Nothing may be put behind a stop. */
void speech_put(struct speech *a, struct str bytes, const struct message_token_logprobs *l);

/* No more tokens: an open character becomes U+FFFD and all text is certain. */
void speech_end(struct speech *a);

#define SPEECH_TEXT_MAX     (128u << 10) /* of one TEXT frame */
#define SPEECH_LOGPROBS_MAX 32           /* likewise: 32 * 21 pieces of 1024 bytes fit a frame */
#define SPEECH_PIECE_MAX    1024         /* bytes shown of a token beside its log-probability */

/* True if something can be sent: *m is that, valid until the next call; `room` is the caller's, for
 * SPEECH_LOGPROBS_MAX of them.  Call until it is false.
 * Tokens without text do not make a message of their own, except at the end (`is_last`): then the
 * last message also counts the tokens that gave none. */
bool speech_take(struct speech *a, struct message_text *m, bool is_last,
                 struct message_token_logprobs *room);

#endif
