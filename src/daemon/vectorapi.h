/* SPDX-License-Identifier: Apache-2.0 */
/* vectorapi.h - requests for vectors and ranks, from JSON to what an encoder is asked, and back.
 *
 * POST /v1/embeddings is OpenAI's dialect; POST /v1/rerank is Jina's, which llama.cpp and vLLM
 * speak as well.  As openai.h: a field that we do not implement and that would change the answer is
 * an error that names it, and so is one that nobody knows.  Pure: any thread. */
#ifndef DAEMON_VECTORAPI_H
#define DAEMON_VECTORAPI_H

#include "daemon/openai.h"

#define VECTORAPI_TEXTS_MAX 2048 /* of a request, as the dialect has it */

struct vectorapi_request {
    bool is_rerank, is_base64, wants_documents;
    struct str model;
    uint32_t dimensions; /* 0: those of the model */
    uint32_t top;        /* of a rerank: so many of the best */
    uint32_t count;
    struct message_encode *asks; /* of a rerank pairs */
    char ignored[64];
};

/* Everything in *r is in the arena.  Negative with the fault filled, if not. */
int vectorapi_parse(struct vectorapi_request *r, bool is_rerank, struct str body,
                    const struct json_limits *limits, struct arena *arena,
                    struct openai_fault *fault);

/* The answer to one text. */
struct vectorapi_answer {
    float *values; /* a vector, or one score */
    uint32_t tokens;
};

/* The whole body.  Of a rerank the best come first; equals in the order of the request.
 * LLMOS_ENOMEM leaves out bad. */
void vectorapi_reply(struct buf *out, const struct vectorapi_request *r,
                     const struct vectorapi_answer *answers, uint32_t width);

#endif
