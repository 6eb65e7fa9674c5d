/* SPDX-License-Identifier: Apache-2.0 */
/* retrace.c - see retrace.h */
#include "engine/retrace.h"

#include "base/mem.h"
#include "infer/session.h"

#include <string.h>

#define AT_ONCE 64 /* tokens of an answer in a step */

/* What somebody said does not stay behind. */
static void forget(struct retrace_text *t)
{
    memset(t->tokens, 0, t->count * sizeof(*t->tokens));
    mem_free(t->tokens);
    *t = (struct retrace_text){0};
}

static void drop_first(struct retrace *r)
{
    retrace_yield(r);
    forget(&r->texts[0]);
    memmove(r->texts, r->texts + 1, --r->count * sizeof(*r->texts));
}

void retrace_keep(struct retrace *r, const llmos_context *context, const llmos_session *session,
                  uint32_t prompt)
{
    struct retrace_text t = {.count = (uint32_t)llmos_session_length(session), .prompt = prompt};

    if (!context_has_kinds(context) || t.count <= prompt)
        return;
    t.tokens = mem_alloc(t.count * sizeof(*t.tokens));
    if (!t.tokens)
        return;
    memcpy(t.tokens, session_tokens(session), t.count * sizeof(*t.tokens));
    if (r->count == RETRACE_TEXTS)
        drop_first(r);
    r->texts[r->count++] = t;
}

bool retrace_has_work(const struct retrace *r)
{
    return r->count > 0;
}

/* Some more tokens, as those of a prompt. */
static bool append(struct retrace *r, size_t wanted)
{
    const struct retrace_text *t = &r->texts[0];
    size_t at = llmos_session_length(r->session), left = t->count - at;

    return llmos_session_append(r->session, t->tokens + at, wanted < left ? wanted : left, NULL) ==
           0;
}

static bool begin(struct retrace *r, llmos_context *context, uint64_t domain)
{
    const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};

    return llmos_session_create(&r->session, context, &greedy, NULL) == 0 &&
           llmos_session_set_domain(r->session, domain, NULL) == 0 &&
           append(r, r->texts[0].prompt + AT_ONCE);
}

/* What is sampled is cut off again. */
static bool go_on(struct retrace *r, llmos_context *context)
{
    struct llmos_step_out out;
    size_t length;

    if (llmos_session_pending(r->session) == 0 && !append(r, AT_ONCE))
        return false;
    length = llmos_session_length(r->session);
    if (llmos_context_step(context, &r->session, 1, &out, NULL) < 0 || out.starved)
        return false;
    llmos_session_truncate(r->session, length);
    return length < r->texts[0].count || llmos_session_pending(r->session) > 0;
}

void retrace_step(struct retrace *r, llmos_context *context, uint64_t domain)
{
    if (r->count == 0)
        return;
    if ((!r->session && !begin(r, context, domain)) || !go_on(r, context))
        drop_first(r);
}

void retrace_yield(struct retrace *r)
{
    llmos_session_destroy(r->session);
    r->session = NULL;
}

void retrace_fini(struct retrace *r)
{
    while (r->count)
        drop_first(r);
}
