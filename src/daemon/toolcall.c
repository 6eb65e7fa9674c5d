/* SPDX-License-Identifier: Apache-2.0 */
/* toolcall.c - see toolcall.h */
#include "daemon/callpart.h"

#include "base/json.h"
#include "base/mem.h"

#define HEAD_MAX 256 /* of a name and what is said beside it */

/* --- what is told --- */

void toolcall_clear(struct toolcall_parser *p, struct buf *b)
{
    p->is_bad |= b->bad;
    buf_clear(b);
}

static void flush(struct toolcall_parser *p)
{
    if (p->told.len && !p->told.bad)
        p->hear(p->cookie, p->told_kind, p->calls ? p->calls - 1 : 0, buf_str(&p->told));
    toolcall_clear(p, &p->told);
}

void toolcall_tell(struct toolcall_parser *p, enum toolcall_kind kind, struct str text)
{
    if (p->told_kind != kind)
        flush(p);
    p->told_kind = kind;
    buf_put(&p->told, text.at, text.len);
}

void toolcall_tell_begin(struct toolcall_parser *p)
{
    flush(p);
    p->hear(p->cookie, TOOLCALL_BEGIN, p->calls++, p->object.offered->name);
    p->is_open = true;
}

/* What is held is what somebody said, and no call. */
static void tell_held(struct toolcall_parser *p)
{
    for (size_t i = 0; i < p->held.len && !p->has_begun; i++)
        p->has_begun = !callpart_is_blank(p->held.at[i]);
    toolcall_tell(p, TOOLCALL_TEXT, buf_str(&p->held));
    toolcall_clear(p, &p->held);
}

const struct toolcall_function *toolcall_find(const struct toolcall_parser *p, struct str name)
{
    for (uint32_t i = 0; i < p->function_count; i++)
        if (str_eq(name, p->functions[i].name))
            return &p->functions[i];
    return NULL;
}

/* --- the whole text --- */

enum { TEXT, LEAD, BEFORE, HEAD, OBJECT, TAGS, AFTER, OVER };

static void give_up(struct toolcall_parser *p)
{
    bool is_told = (p->state == OBJECT || p->state == TAGS) && p->object.is_told;

    if (!is_told)
        tell_held(p);
    toolcall_clear(p, &p->held);
    p->is_open = false;
    p->matched = 0;
    p->state = is_told && p->calls == p->calls_max ? OVER : TEXT;
}

/* All that stands before a call was said. */
static void begin_call(struct toolcall_parser *p)
{
    static const int states[] = {
        [CALLFORM_OBJECT] = BEFORE, [CALLFORM_NAMED] = HEAD, [CALLFORM_TAGGED] = TAGS};

    p->matched = 0;
    p->item_from = p->held.len;
    p->state = states[p->format->shape];
    if (p->state == TAGS)
        calltags_begin(p);
}

static void begin_lead(struct toolcall_parser *p)
{
    p->matched = 0;
    p->item_from = p->held.len;
    p->state = LEAD;
}

static void begin_object(struct toolcall_parser *p)
{
    callobject_begin(p);
    p->state = OBJECT;
}

static void text_byte(struct toolcall_parser *p, char c)
{
    const char *opening = p->format->opening;

    if (p->matched && opening[p->matched] != c) { /* its first byte comes in it once */
        tell_held(p);
        p->matched = 0;
    }
    if (opening[p->matched] == c) {
        buf_putc(&p->held, c);
        if (opening[++p->matched])
            return;
        if (p->format->each)
            begin_lead(p);
        else
            begin_call(p);
        return;
    }
    buf_putc(&p->held, c);
    if (c == '{' && p->format->is_bare && !p->has_begun && !p->calls)
        begin_object(p);
    else if (!callpart_is_blank(c))
        tell_held(p);
}

static bool is_blank_only(struct str text)
{
    size_t n = 0;

    while (n < text.len && callpart_is_blank(text.at[n]))
        n++;
    return n == text.len;
}

/* What looked like a mark, `count` bytes at the end of held and then c, is looked at as text; so is
 * what is held before, but for blanks. */
static void look_again(struct toolcall_parser *p, const char *mark, size_t count, char c)
{
    p->held.len -= count < p->held.len ? count : p->held.len; /* less where memory failed */
    if (!is_blank_only(buf_str(&p->held)))
        tell_held(p);
    p->matched = 0;
    p->state = TEXT;
    for (size_t i = 0; i < count; i++)
        text_byte(p, mark[i]);
    text_byte(p, c);
}

/* Of calls that stand together the next one begins, or it was the last.  Blanks are skipped. */
static void lead_byte(struct toolcall_parser *p, char c)
{
    const char *const words[] = {p->format->each, p->format->ending};
    struct str begun;

    if (p->held.bad)
        return;
    begun = (struct str){p->held.at ? p->held.at + p->item_from : "", p->held.len - p->item_from};
    if (callpart_is_blank(c) && begun.len == 0) {
        buf_putc(&p->held, c);
        p->item_from++;
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        if (!str_starts(str_of(words[i]), begun) || words[i][begun.len] != c)
            continue;
        buf_putc(&p->held, c);
        if (words[i][begun.len + 1])
            return;
        if (i == 0) {
            begin_call(p);
        } else {
            toolcall_clear(p, &p->held);
            p->state = TEXT;
        }
        return;
    }
    begun.at = words[str_starts(str_of(words[1]), begun)];
    look_again(p, begun.at, begun.len, c);
}

static void before_byte(struct toolcall_parser *p, char c)
{
    if (callpart_is_blank(c) || (c == '[' && p->format->is_array && !p->matched)) {
        p->matched |= c == '['; /* one bracket */
        buf_putc(&p->held, c);
    } else if (c == '{') {
        buf_putc(&p->held, c);
        begin_object(p);
    } else {
        give_up(p);
        text_byte(p, c);
    }
}

/* The name, and what is said beside it; then come the arguments. */
static void head_byte(struct toolcall_parser *p, char c)
{
    struct str separator = str_of(p->format->separator), head;
    const struct toolcall_function *offered;
    size_t n = 0;

    buf_putc(&p->held, c);
    if (p->held.bad)
        return;
    head = (struct str){p->held.at + p->item_from, p->held.len - p->item_from};
    if (!str_ends(head, separator)) {
        if (head.len > HEAD_MAX)
            give_up(p);
        return;
    }
    head.len -= separator.len;
    while (n < head.len && !strchr("[<: \n", head.at[n]))
        n++;
    offered = toolcall_find(p, (struct str){head.at, n});
    if (!offered) {
        give_up(p);
        return;
    }
    callobject_begin_arguments(p, offered);
    p->state = OBJECT;
}

/* The call stands in held, all of it, and has not been told.  False: it is none. */
static bool tell_call(struct toolcall_parser *p)
{
    const struct toolcall_object *o = &p->object;
    static const struct json_limits limits = JSON_LIMITS_INIT;
    struct str arguments = STR("{}");
    json_t *parsed = NULL;
    int rc;

    if (!o->offered || p->held.bad)
        return false;
    if (o->end)
        arguments = (struct str){p->held.at + o->begin, o->end - o->begin};
    rc = json_parse(&parsed, arguments, &limits, NULL);
    p->is_bad |= rc == LLMOS_ENOMEM;
    if (rc < 0)
        return false;
    json_decref(parsed);
    toolcall_tell_begin(p);
    toolcall_tell(p, TOOLCALL_ARGUMENTS, arguments);
    return true;
}

static void end_call(struct toolcall_parser *p)
{
    flush(p);
    toolcall_clear(p, &p->held);
    p->is_open = false;
    p->matched = 0;
    p->state = p->calls == p->calls_max ? OVER : AFTER;
}

static void in_object_byte(struct toolcall_parser *p, char c)
{
    enum callpart rc;

    if (!p->object.is_told)
        buf_putc(&p->held, c);
    rc = callobject_byte(p, c);
    if (rc == CALLPART_BROKEN || (rc == CALLPART_WHOLE && !p->object.is_told && !tell_call(p)))
        give_up(p);
    else if (rc == CALLPART_WHOLE)
        end_call(p);
}

static void in_tags_byte(struct toolcall_parser *p, char c)
{
    enum callpart rc;

    buf_putc(&p->held, c);
    rc = p->held.bad ? CALLPART_MORE : calltags_byte(p, c);
    if (rc == CALLPART_BROKEN)
        give_up(p);
    else if (rc == CALLPART_WHOLE)
        end_call(p);
}

static void after_byte(struct toolcall_parser *p, char c)
{
    const struct callform *f = p->format;
    bool is_bracket = f->is_array && c == ']';

    if (c && f->closing[p->matched] == c) {
        buf_putc(&p->held, c);
        if (f->closing[++p->matched])
            return;
        toolcall_clear(p, &p->held);
        p->matched = 0;
        p->state = TEXT;
        if (f->each)
            begin_lead(p);
    } else if (p->matched || !(is_bracket || callpart_is_blank(c) || (c && c == f->between[0]))) {
        look_again(p, f->closing, p->matched, c);
    } else if (is_bracket) {
        toolcall_clear(p, &p->held);
        p->state = f->closing[0] ? AFTER : TEXT;
    } else {
        buf_putc(&p->held, c);
        if (!callpart_is_blank(c)) {
            p->matched = 1; /* no bracket comes here */
            p->state = BEFORE;
        }
    }
}

void toolcall_init(struct toolcall_parser *p)
{
    buf_init(&p->held, TOOLCALL_HELD_MAX + 64);
    buf_init(&p->told, SIZE_MAX / 2);
    buf_init(&p->made, 8 * TOOLCALL_HELD_MAX);
}

void toolcall_fini(struct toolcall_parser *p)
{
    buf_fini(&p->held);
    buf_fini(&p->told);
    buf_fini(&p->made);
    json_decref(p->said);
    p->said = NULL;
}

void toolcall_reset(struct toolcall_parser *p)
{
    buf_clear(&p->held);
    buf_clear(&p->told);
    p->state = TEXT;
    p->has_begun = p->is_open = p->is_bad = false;
    p->matched = p->calls = 0;
}

void toolcall_put(struct toolcall_parser *p, struct str text)
{
    static void (*const steps[])(struct toolcall_parser *, char) = {
        [TEXT] = text_byte,   [LEAD] = lead_byte,        [BEFORE] = before_byte,
        [HEAD] = head_byte,   [OBJECT] = in_object_byte, [TAGS] = in_tags_byte,
        [AFTER] = after_byte,
    };

    for (size_t i = 0; i < text.len && p->state != OVER; i++) {
        if (p->held.len >= TOOLCALL_HELD_MAX)
            give_up(p);
        steps[p->state](p, text.at[i]);
    }
    flush(p);
}

void toolcall_end(struct toolcall_parser *p)
{
    bool says_nothing = p->calls && (p->state == BEFORE || p->state == LEAD || p->state == AFTER ||
                                     (p->state == TEXT && !p->matched));

    if (!says_nothing && !p->is_open && p->state != OVER)
        give_up(p);
    flush(p);
}

bool toolcall_is_good(const struct toolcall_parser *p)
{
    return !p->is_bad && !p->held.bad && !p->told.bad && !p->made.bad;
}
