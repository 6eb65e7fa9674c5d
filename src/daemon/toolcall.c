/* SPDX-License-Identifier: Apache-2.0 */
/* toolcall.c - see toolcall.h */
#include "daemon/toolcall.h"

#include "base/json.h"

static const struct toolcall_format formats[] = {
    {"hermes", "<tool_call>", "</tool_call>", "\n", "arguments", false, false, false},
    {"mistral", "[TOOL_CALLS]", "", ", ", "arguments", true, false, true},
    {"llama3", "<|python_tag|>", "", "; ", "parameters", false, true, false},
};

const struct toolcall_format *toolcall_format_of(struct str name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (str_is(name, formats[i].name))
            return &formats[i];
    return NULL;
}

const struct toolcall_format *toolcall_format_generic(void)
{
    return &formats[0];
}

/* --- what is told --- */

/* Empty again; that memory failed is not forgotten. */
static void clear(struct toolcall_parser *p, struct buf *b)
{
    p->is_bad |= b->bad;
    buf_clear(b);
}

static void flush(struct toolcall_parser *p)
{
    if (p->told.len && !p->told.bad)
        p->hear(p->cookie, p->told_kind, p->calls ? p->calls - 1 : 0, buf_str(&p->told));
    clear(p, &p->told);
}

static void tell(struct toolcall_parser *p, enum toolcall_kind kind, struct str text)
{
    if (p->told_kind != kind)
        flush(p);
    p->told_kind = kind;
    buf_put(&p->told, text.at, text.len);
}

static void tell_begin(struct toolcall_parser *p)
{
    flush(p);
    p->hear(p->cookie, TOOLCALL_BEGIN, p->calls++, *p->object.offered);
    p->is_open = true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* What is held is what somebody said, and no call. */
static void tell_held(struct toolcall_parser *p)
{
    for (size_t i = 0; i < p->held.len && !p->has_begun; i++)
        p->has_begun = !is_blank(p->held.at[i]);
    tell(p, TOOLCALL_TEXT, buf_str(&p->held));
    clear(p, &p->held);
}

/* --- the object of a call, byte by byte --- */

enum { KEY_OR_END, KEY_NEXT, KEY, COLON, VALUE, STRING, NESTED, SCALAR, COMMA_OR_END };
enum { OTHER, NAME, ARGUMENTS };
enum { MORE, WHOLE, BROKEN };

static int member_of(const struct toolcall_object *o)
{
    struct str key = {o->key, o->key_len};

    return str_is(key, "name")                                     ? NAME
           : str_is(key, "arguments") || str_is(key, "parameters") ? ARGUMENTS
                                                                   : OTHER;
}

static const struct str *find_offered(const struct toolcall_parser *p)
{
    struct str name = {p->object.name, p->object.name_len};

    for (uint32_t i = 0; i < p->name_count; i++)
        if (str_eq(name, p->names[i]))
            return &p->names[i];
    return NULL;
}

static int key_byte(struct toolcall_object *o, char c)
{
    if (!o->is_escaped && c == '"') {
        o->state = COLON;
        return MORE;
    }
    o->is_escaped = !o->is_escaped && c == '\\';
    if (o->key_len < sizeof(o->key)) /* one that is longer is none of ours */
        o->key[o->key_len++] = c;
    return MORE;
}

static int value_begins(struct toolcall_parser *p, char c)
{
    struct toolcall_object *o = &p->object;

    o->member = member_of(o);
    if ((o->member == NAME && (c != '"' || o->offered)) ||
        (o->member == ARGUMENTS && (c != '{' || o->end || o->is_told)) || strchr(",:}]", c))
        return BROKEN;
    o->state = c == '"' ? STRING : c == '{' || c == '[' ? NESTED : SCALAR;
    o->depth = o->state == NESTED;
    o->in_string = o->is_escaped = false;
    if (o->member != ARGUMENTS)
        return MORE;
    if (p->is_strict && o->offered) {
        tell_begin(p);
        tell(p, TOOLCALL_ARGUMENTS, (struct str){&c, 1});
        o->is_told = true;
    }
    o->begin = p->held.len - 1;
    return MORE;
}

static int string_byte(struct toolcall_parser *p, char c)
{
    struct toolcall_object *o = &p->object;

    if (!o->is_escaped && c == '"') {
        o->state = COMMA_OR_END;
        if (o->member == NAME)
            o->offered = find_offered(p);
        return o->member == NAME && !o->offered ? BROKEN : MORE;
    }
    o->is_escaped = !o->is_escaped && c == '\\';
    if (o->member != NAME)
        return MORE;
    if (c == '\\' || o->name_len == TOOLCALL_NAME_MAX)
        return BROKEN; /* no function is called that */
    o->name[o->name_len++] = c;
    return MORE;
}

static int nested_byte(struct toolcall_parser *p, char c)
{
    struct toolcall_object *o = &p->object;

    if (o->member == ARGUMENTS && o->is_told)
        tell(p, TOOLCALL_ARGUMENTS, (struct str){&c, 1});
    if (o->in_string) {
        if (c == '"' && !o->is_escaped)
            o->in_string = false;
        o->is_escaped = !o->is_escaped && c == '\\';
        return MORE;
    }
    o->in_string = c == '"';
    o->is_escaped = false;
    if (c == '{' || c == '[')
        o->depth++;
    else if ((c == '}' || c == ']') && --o->depth == 0) {
        o->state = COMMA_OR_END;
        if (o->member == ARGUMENTS)
            o->end = p->held.len;
    }
    return MORE;
}

static int between_byte(struct toolcall_object *o, char c)
{
    if (c == '}' && o->state != KEY_NEXT && o->state != COLON)
        return WHOLE;
    if (o->state == COMMA_OR_END && c == ',')
        o->state = KEY_NEXT;
    else if (o->state == COLON && c == ':')
        o->state = VALUE;
    else if ((o->state == KEY_OR_END || o->state == KEY_NEXT) && c == '"') {
        o->state = KEY;
        o->key_len = 0;
        o->is_escaped = false;
    } else
        return BROKEN;
    return MORE;
}

static int object_byte(struct toolcall_parser *p, char c)
{
    struct toolcall_object *o = &p->object;

    if (o->state == KEY)
        return key_byte(o, c);
    if (o->state == STRING)
        return string_byte(p, c);
    if (o->state == NESTED)
        return nested_byte(p, c);
    if (o->state == SCALAR && !is_blank(c) && c != ',' && c != '}')
        return strchr("{[\"", c) ? BROKEN : MORE;
    if (o->state == SCALAR)
        o->state = COMMA_OR_END;
    if (is_blank(c))
        return MORE;
    return o->state == VALUE ? value_begins(p, c) : between_byte(o, c);
}

/* --- the whole text --- */

enum { TEXT, BEFORE, OBJECT, AFTER, OVER };

static void begin_object(struct toolcall_parser *p)
{
    p->object = (struct toolcall_object){.state = KEY_OR_END};
    p->state = OBJECT;
}

static void give_up(struct toolcall_parser *p)
{
    bool is_told = p->state == OBJECT && p->object.is_told;

    if (!is_told)
        tell_held(p);
    clear(p, &p->held);
    p->is_open = false;
    p->matched = 0;
    p->state = is_told && p->calls == p->calls_max ? OVER : TEXT;
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
        p->matched = 0;
        p->state = BEFORE;
        return;
    }
    buf_putc(&p->held, c);
    if (c == '{' && p->format->is_bare && !p->has_begun && !p->calls)
        begin_object(p);
    else if (!is_blank(c))
        tell_held(p);
}

static void before_byte(struct toolcall_parser *p, char c)
{
    if (is_blank(c) || (c == '[' && p->format->is_array && !p->matched)) {
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
    tell_begin(p);
    tell(p, TOOLCALL_ARGUMENTS, arguments);
    return true;
}

static void in_object_byte(struct toolcall_parser *p, char c)
{
    int rc;

    if (!p->object.is_told)
        buf_putc(&p->held, c);
    rc = object_byte(p, c);
    if (rc == MORE)
        return;
    if (rc == BROKEN || (!p->object.is_told && !tell_call(p))) {
        give_up(p);
        return;
    }
    flush(p);
    clear(p, &p->held);
    p->is_open = false;
    p->matched = 0;
    p->state = p->calls == p->calls_max ? OVER : AFTER;
}

static void after_byte(struct toolcall_parser *p, char c)
{
    const char *closing = p->format->closing;
    size_t half = p->matched;

    if (c && closing[p->matched] == c) {
        buf_putc(&p->held, c);
        if (!closing[++p->matched]) {
            clear(p, &p->held);
            p->matched = 0;
            p->state = TEXT;
        }
        return;
    }
    if (half == 0 && (is_blank(c) || c == p->format->between[0])) {
        buf_putc(&p->held, c);
        if (!is_blank(c)) {
            p->matched = 1; /* no bracket comes here */
            p->state = BEFORE;
        }
        return;
    }
    p->matched = 0;
    p->state = TEXT;
    if (p->format->is_array && c == ']') {
        clear(p, &p->held);
        return;
    }
    p->held.len -= half; /* what looked like the closing is looked at as text */
    for (size_t i = 0; i < half; i++)
        text_byte(p, closing[i]);
    text_byte(p, c);
}

void toolcall_init(struct toolcall_parser *p)
{
    buf_init(&p->held, TOOLCALL_HELD_MAX + 64);
    buf_init(&p->told, SIZE_MAX / 2);
}

void toolcall_fini(struct toolcall_parser *p)
{
    buf_fini(&p->held);
    buf_fini(&p->told);
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
        [TEXT] = text_byte,
        [BEFORE] = before_byte,
        [OBJECT] = in_object_byte,
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
    bool says_nothing =
        p->calls && (p->state == BEFORE || p->state == AFTER || (p->state == TEXT && !p->matched));

    if (!says_nothing && !p->is_open && p->state != OVER)
        give_up(p);
    flush(p);
}

bool toolcall_is_good(const struct toolcall_parser *p)
{
    return !p->is_bad && !p->held.bad && !p->told.bad;
}
