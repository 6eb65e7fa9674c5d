/* SPDX-License-Identifier: Apache-2.0 */
/* speech.c - see speech.h */
#include "engine/speech.h"

#include "base/mem.h"
#include "base/utf8.h"

#define TEXT_LIMIT (64u << 20) /* a prompt of 16 MiB, echoed, every byte of it broken */

void speech_init(struct speech *a, const struct str *stops, uint32_t stop_count, bool want_logprobs)
{
    *a = (struct speech){.stops = stops, .stop_count = stop_count, .want_logprobs = want_logprobs};
    buf_init(&a->text, TEXT_LIMIT);
}

void speech_fini(struct speech *a)
{
    buf_fini(&a->text);
    mem_free(a->queue);
    a->queue = NULL;
    a->queue_count = a->queue_room = 0;
}

/* ---- bytes to characters ---- */

/* True if s is the beginning of some character: then it becomes one with the lowest or the highest
 * bytes that can go on, whatever the first is. */
static bool could_become_character(struct str s)
{
    static const unsigned char fills[] = {0x80, 0xbf};

    for (size_t i = 0; i < sizeof(fills); i++) {
        char c[4];

        memset(c, fills[i], sizeof(c));
        memcpy(c, s.at, s.len);
        if (utf8_length((struct str){c, sizeof(c)}) > s.len)
            return true;
    }
    return false;
}

/* Bytes at the end of s that wait for the rest of their character. */
static size_t open_bytes(struct str s)
{
    size_t longest = s.len < 3 ? s.len : 3;

    for (size_t n = longest; n > 0; n--) {
        if (could_become_character((struct str){s.at + s.len - n, n}))
            return n;
    }
    return 0;
}

static void put_bytes(struct speech *a, struct str bytes)
{
    /* The open bytes and enough to close them, as one run. */
    while (bytes.len > 0 && a->open_count > 0) {
        struct str joined = {a->open, a->open_count + 1};

        a->open[a->open_count] = bytes.at[0];
        if (utf8_length(joined) == 0 && !could_become_character(joined)) {
            /* What was open stays a fragment; the new byte is looked at by itself. */
            buf_puts(&a->text, "\xef\xbf\xbd");
            a->open_count = 0;
            break;
        }
        bytes.at++;
        bytes.len--;
        a->open_count++;
        if (utf8_length(joined) == joined.len) {
            buf_put(&a->text, a->open, a->open_count);
            a->open_count = 0;
        }
    }
    if (bytes.len > 0) {
        size_t open = open_bytes(bytes);

        utf8_put(&a->text, (struct str){bytes.at, bytes.len - open});
        memcpy(a->open, bytes.at + bytes.len - open, open);
        a->open_count = open;
    }
}

/* ---- stop strings ---- */

/* Cuts the text before the stop string that is complete first. */
static bool cut_at_stop(struct speech *a)
{
    size_t best_at = 0, best_end = SIZE_MAX;
    struct str rest = {a->text.at + a->certain, a->text.len - a->certain};

    for (uint32_t i = 0; i < a->stop_count && rest.len; i++) {
        const char *hit = memmem(rest.at, rest.len, a->stops[i].at, a->stops[i].len);
        size_t at = hit ? (size_t)(hit - rest.at) : 0, end = at + a->stops[i].len;

        if (hit && (end < best_end || (end == best_end && at < best_at))) {
            best_at = at;
            best_end = end;
        }
    }
    if (best_end == SIZE_MAX)
        return false;
    a->text.len = a->certain + best_at;
    a->text.at[a->text.len] = '\0';
    return true;
}

/* Bytes at the end of s that are the beginning of a stop string. */
static size_t held_bytes(const struct speech *a, struct str s)
{
    size_t held = 0;

    for (uint32_t i = 0; i < a->stop_count; i++) {
        size_t n = a->stops[i].len - 1;

        for (n = n < s.len ? n : s.len; n > held; n--) {
            if (memcmp(s.at + s.len - n, a->stops[i].at, n) == 0)
                held = n;
        }
    }
    return held;
}

static void settle(struct speech *a)
{
    if (a->text.len == a->certain)
        return;
    if (cut_at_stop(a)) {
        a->is_stopped = true;
        a->open_count = 0;
        a->certain = a->text.len;
    } else {
        struct str rest = {a->text.at + a->certain, a->text.len - a->certain};

        a->certain = a->text.len - held_bytes(a, rest);
    }
}

/* ---- putting ---- */

static void drop_given(struct speech *a)
{
    buf_drop(&a->text, a->given);
    a->certain -= a->given;
    a->taken += a->given;
    a->given = 0;
}

static struct str without_space(struct speech *a, struct str bytes)
{
    if (a->drop_space && bytes.len > 0) {
        a->drop_space = false;
        if (bytes.at[0] == ' ')
            return (struct str){bytes.at + 1, bytes.len - 1};
    }
    return bytes;
}

static uint64_t put_so_far(const struct speech *a)
{
    return a->taken + a->text.len;
}

static void queue_put(struct speech *a, const struct message_token_logprobs *l, uint64_t begin)
{
    struct speech_logprobs *q;

    if (a->queue_count == a->queue_room) {
        size_t room = a->queue_room ? 2 * a->queue_room : 8;
        struct speech_logprobs *grown = mem_resize(a->queue, room, sizeof(*grown));

        if (!grown) {
            a->is_bad = true;
            return;
        }
        a->queue = grown;
        a->queue_room = room;
    }
    q = &a->queue[a->queue_count++];
    q->l = *l;
    q->l.text_offset = begin > UINT32_MAX ? UINT32_MAX : (uint32_t)begin;
    q->begin = begin;
    q->end = put_so_far(a);
}

void speech_echo(struct speech *a, struct str text)
{
    put_bytes(a, text);
    if (a->open_count) /* the answer's first byte does not complete the prompt */
        buf_puts(&a->text, "\xef\xbf\xbd");
    a->open_count = 0;
    a->certain = a->text.len;
    a->is_bad |= a->text.bad;
}

void speech_put(struct speech *a, struct str bytes, const struct message_token_logprobs *l)
{
    uint64_t begin;

    drop_given(a);
    begin = put_so_far(a);
    put_bytes(a, without_space(a, bytes));
    if (l)
        queue_put(a, l, begin);
    else
        a->tokens++;
    settle(a);
    a->is_bad |= a->text.bad;
}

void speech_end(struct speech *a)
{
    drop_given(a);
    if (a->open_count && !a->is_stopped) {
        buf_puts(&a->text, "\xef\xbf\xbd");
        a->open_count = 0;
        settle(a); /* somebody may have asked to stop at U+FFFD */
    }
    a->certain = a->text.len;
    a->is_bad |= a->text.bad;
}

/* ---- taking ---- */

/* A token leaves when all of its text has; in a stopped answer, if it began before the stop. */
static bool may_leave(const struct speech *a, const struct speech_logprobs *q, uint64_t certain,
                      bool is_last)
{
    if (a->is_stopped)
        return q->begin < certain;
    /* Control tokens without end behind one held character: the text waits, they need not. */
    return is_last || q->end <= certain || a->queue_count > MESSAGE_LOGPROBS_MAX;
}

static void take_logprobs(struct speech *a, struct message_text *m, bool is_last,
                          struct message_token_logprobs *room)
{
    uint64_t certain = a->taken + a->certain;
    size_t n = 0;

    while (n < a->queue_count && n < SPEECH_LOGPROBS_MAX &&
           may_leave(a, &a->queue[n], certain, is_last))
        n++;
    for (size_t i = 0; i < n; i++)
        room[i] = a->queue[i].l;
    m->logprobs = room;
    m->logprob_count = (uint32_t)n;
    m->tokens += (uint32_t)n;
    a->queue_count -= n;
    memmove(a->queue, a->queue + n, a->queue_count * sizeof(*a->queue));
    if (is_last && a->is_stopped &&
        n < SPEECH_LOGPROBS_MAX) { /* the rest lies in the stop string */
        m->tokens += (uint32_t)a->queue_count;
        a->queue_count = 0;
    }
}

bool speech_take(struct speech *a, struct message_text *m, bool is_last,
                 struct message_token_logprobs *room)
{
    size_t n;

    drop_given(a);
    n = a->certain;
    *m = (struct message_text){.text = {"", 0}};
    if (n > SPEECH_TEXT_MAX) {
        n = SPEECH_TEXT_MAX;
        while (((unsigned char)a->text.at[n] & 0xc0) == 0x80) /* not in the middle of a character */
            n--;
    }
    if (a->queue_count)
        take_logprobs(a, m, is_last, room);
    if (n > 0 || is_last || m->logprob_count) {
        m->tokens += a->tokens;
        a->tokens = 0;
    }
    if (n == 0 && m->tokens == 0)
        return false;
    m->text = (struct str){n ? a->text.at : "", n};
    a->given = n;
    return true;
}
