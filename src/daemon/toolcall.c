/* SPDX-License-Identifier: Apache-2.0 */
/* toolcall.c - see toolcall.h */
#include "daemon/toolcall.h"

#include "base/json.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sched/schema.h"

#define HEAD_MAX 256 /* of a name and what is said beside it */

#define OBJECT_BEFORE "\"{\\\"name\\\": \\\"\""
#define OBJECT_AFTER  "\"\\\", \\\"arguments\\\": \""

static const struct toolcall_format formats[] = {
    {.name = "hermes",
     .opening = "<tool_call>",
     .closing = "</tool_call>",
     .between = "\n",
     .before = "\"<tool_call>\\n\" " OBJECT_BEFORE,
     .after = OBJECT_AFTER,
     .end = "\"}\\n</tool_call>\""},
    {.name = "mistral",
     .opening = "[TOOL_CALLS]",
     .closing = "",
     .between = ", ",
     .is_array = true,
     .marks = {"[TOOL_CALLS]"},
     .first = "\"[TOOL_CALLS]\" \" \"? \"[\"",
     .last = "\"]\"",
     .before = OBJECT_BEFORE,
     .after = OBJECT_AFTER,
     .end = "\"}\""},
    {.name = "ministral",
     .shape = TOOLCALL_NAMED,
     .opening = "[TOOL_CALLS]",
     .closing = "",
     .between = "",
     .separator = "[ARGS]",
     .marks = {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"},
     .before = "\"[TOOL_CALLS]\"",
     .after = "(\"[CALL_ID]\" [a-zA-Z0-9]{9})? \"[ARGS]\"",
     .end = ""},
    {.name = "granite",
     .opening = "<|tool_call|>",
     .closing = "",
     .between = ", ",
     .is_array = true,
     .forgets = true,
     .marks = {"<|tool_call|>"},
     .first = "\"<|tool_call|>\" \" \"? \"[\"",
     .last = "\"]\"",
     .before = OBJECT_BEFORE,
     .after = OBJECT_AFTER,
     .end = "\"}\""},
    {.name = "llama3",
     .opening = "<|python_tag|>",
     .closing = "",
     .between = "; ",
     .is_bare = true,
     .is_single = true,
     .before = OBJECT_BEFORE,
     .after = "\"\\\", \\\"parameters\\\": \"",
     .end = "\"}\""},
    {.name = "harmony",
     .shape = TOOLCALL_NAMED,
     .opening = "<|channel|>commentary to=functions.",
     .closing = "<|call|>",
     .between = "",
     .separator = "<|message|>",
     .is_single = true,
     .before = "(\"<|channel|>commentary to=functions.\" | \" to=functions.\")",
     .after = "\"<|channel|>commentary\"? (\" \"? \"<|constrain|>json\" | \" json\")? "
              "\"<|message|>\"",
     .end = ""},
    {.name = "qwen3xml",
     .shape = TOOLCALL_TAGGED,
     .opening = "<tool_call>",
     .closing = "</tool_call>",
     .between = "\n",
     .before = "\"<tool_call>\\n<function=\"",
     .after = "\">\\n\"",
     .end = "\"</function>\\n</tool_call>\""},
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
    p->hear(p->cookie, TOOLCALL_BEGIN, p->calls++, p->object.offered->name);
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

static const struct toolcall_function *find_offered(const struct toolcall_parser *p,
                                                    struct str name)
{
    for (uint32_t i = 0; i < p->function_count; i++)
        if (str_eq(name, p->functions[i].name))
            return &p->functions[i];
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
            o->offered = find_offered(p, (struct str){o->name, o->name_len});
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

/* --- the tags of a call, byte by byte --- */

enum { FUNCTION, ITEM, CONTENT };

#define KEY_MAX 256

/* What stands for a parameter, as JSON; NULL: it cannot be that, or no memory. */
static json_t *value_of(struct toolcall_parser *p, struct str text, unsigned types)
{
    static const struct {
        const char *said, *meant;
    } words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"}}; /* Python's */
    static const struct json_limits limits = JSON_LIMITS_INIT;
    CLEANUP(buf) struct buf list = {.limit_bytes = TOOLCALL_HELD_MAX + 64};
    struct str json = text;
    json_t *all = NULL, *v = NULL;

    for (size_t i = 0; i < 3; i++)
        if (str_is(text, words[i].said))
            json = str_of(words[i].meant);
    buf_printf(&list, "[%.*s]", STR_ARG(json));
    p->is_bad |= list.bad;
    if ((types & SCHEMA_OTHERS) && json_parse(&all, buf_str(&list), &limits, NULL) == LLMOS_ENOMEM)
        p->is_bad = true;
    if (json_array_size(all) == 1 && schema_has_type(types, json_array_get(all, 0)))
        v = json_incref(json_array_get(all, 0));
    json_decref(all);
    if (v || !(types & SCHEMA_STRING) || utf8_valid_bytes(text) < text.len ||
        memchr(text.at, '\0', text.len))
        return v;
    v = json_stringn(text.at, text.len);
    p->is_bad |= !v;
    return v;
}

static unsigned types_of(const struct toolcall_function *f, struct str key)
{
    for (uint32_t i = 0; i < f->parameter_count; i++)
        if (str_eq(f->parameters[i].name, key))
            return f->parameters[i].types;
    return SCHEMA_STRING | SCHEMA_OTHERS;
}

static struct str without_feeds(struct str text)
{
    if (text.len && text.at[0] == '\n')
        text = (struct str){text.at + 1, text.len - 1};
    if (text.len && text.at[text.len - 1] == '\n')
        text.len--;
    return text;
}

static void tell_made(struct toolcall_parser *p)
{
    if (!p->is_strict)
        return;
    tell(p, TOOLCALL_ARGUMENTS, buf_str(&p->made));
    clear(p, &p->made);
}

/* Takes the parameter in; false: it cannot be that. */
static bool take_parameter(struct toolcall_parser *p, struct str text)
{
    struct str key = {p->held.at + p->key_from, p->key_len};
    json_t *v;

    if (utf8_valid_bytes(key) < key.len || memchr(key.at, '\0', key.len))
        return false;
    if (json_object_getn(p->said, key.at, key.len))
        return true;
    v = value_of(p, without_feeds(text), types_of(p->object.offered, key));
    if (!v)
        return false;
    buf_puts(&p->made, json_object_size(p->said) ? ", " : "");
    json_put_string(&p->made, key);
    buf_puts(&p->made, ": ");
    json_put(&p->made, v);
    p->is_bad |= json_object_setn_new(p->said, key.at, key.len, json_null()) < 0;
    json_decref(v);
    tell_made(p);
    return true;
}

/* The tag that begins at item_from, up to its end; *text is what stands in it. */
static int tag_of(struct toolcall_parser *p, const char *opening, char c, struct str *text)
{
    struct str rest = {p->held.at + p->item_from, p->held.len - p->item_from};
    size_t n = strlen(opening);

    if (rest.len <= n)
        return memcmp(rest.at, opening, rest.len) == 0 ? MORE : BROKEN;
    if (memcmp(rest.at, opening, n) != 0 || rest.len > n + KEY_MAX)
        return BROKEN;
    *text = (struct str){rest.at + n, rest.len - n - 1};
    return c == '>' ? WHOLE : MORE;
}

static int function_byte(struct toolcall_parser *p, char c)
{
    struct str name;
    int rc = tag_of(p, "<function=", c, &name);

    if (rc != WHOLE)
        return rc;
    p->object.offered = find_offered(p, name);
    if (!p->object.offered)
        return BROKEN;
    p->object.state = ITEM;
    p->item_from = p->held.len;
    json_decref(p->said);
    p->said = json_object();
    p->is_bad |= !p->said;
    clear(p, &p->made);
    buf_putc(&p->made, '{');
    if (p->is_strict) {
        tell_begin(p);
        p->object.is_told = true;
    }
    tell_made(p);
    return MORE;
}

static int item_byte(struct toolcall_parser *p, char c)
{
    static const char end[] = "</function>";
    struct str rest = {p->held.at + p->item_from, p->held.len - p->item_from}, key;
    int rc;

    if (rest.len > 1 && rest.at[1] == '/') {
        if (rest.len > sizeof(end) - 1 || memcmp(rest.at, end, rest.len) != 0)
            return BROKEN;
        if (rest.len < sizeof(end) - 1)
            return MORE;
        buf_putc(&p->made, '}');
        if (!p->is_strict) {
            tell_begin(p);
            tell(p, TOOLCALL_ARGUMENTS, buf_str(&p->made));
        }
        tell_made(p);
        return WHOLE;
    }
    rc = tag_of(p, "<parameter=", c, &key);
    if (rc != WHOLE)
        return rc;
    p->key_from = (size_t)(key.at - p->held.at);
    p->key_len = key.len;
    p->item_from = p->held.len;
    p->object.state = CONTENT;
    return MORE;
}

static int content_byte(struct toolcall_parser *p, char c)
{
    static const struct str end = STR("</parameter>");
    struct str rest = {p->held.at + p->item_from, p->held.len - p->item_from};

    if (c != '>' || !str_ends(rest, end))
        return MORE;
    if (!take_parameter(p, (struct str){rest.at, rest.len - end.len}))
        return BROKEN;
    if (p->object.is_told)
        clear(p, &p->held);
    p->object.state = ITEM;
    p->item_from = p->held.len;
    return MORE;
}

static int tags_byte(struct toolcall_parser *p, char c)
{
    if (p->object.state == CONTENT)
        return content_byte(p, c);
    if (is_blank(c) && p->held.len - p->item_from == 1) {
        p->item_from++;
        return MORE;
    }
    return p->object.state == FUNCTION ? function_byte(p, c) : item_byte(p, c);
}

/* --- the whole text --- */

enum { TEXT, BEFORE, HEAD, OBJECT, TAGS, AFTER, OVER };

static void begin_object(struct toolcall_parser *p)
{
    p->object = (struct toolcall_object){.state = KEY_OR_END};
    p->state = OBJECT;
}

static void give_up(struct toolcall_parser *p)
{
    bool is_told = (p->state == OBJECT || p->state == TAGS) && p->object.is_told;

    if (!is_told)
        tell_held(p);
    clear(p, &p->held);
    p->is_open = false;
    p->matched = 0;
    p->state = is_told && p->calls == p->calls_max ? OVER : TEXT;
}

/* The opening was said. */
static void begin_call(struct toolcall_parser *p)
{
    static const int states[] = {
        [TOOLCALL_OBJECT] = BEFORE, [TOOLCALL_NAMED] = HEAD, [TOOLCALL_TAGGED] = TAGS};

    p->matched = 0;
    p->object = (struct toolcall_object){.state = FUNCTION};
    p->item_from = p->held.len;
    p->state = states[p->format->shape];
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
        begin_call(p);
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

/* The name, and what is said beside it; then come the arguments. */
static void head_byte(struct toolcall_parser *p, char c)
{
    struct str separator = str_of(p->format->separator), head;
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
    while (n < head.len && !strchr("[< ", head.at[n]))
        n++;
    p->object = (struct toolcall_object){.state = VALUE, .key = "arguments", .key_len = 9};
    p->object.offered = find_offered(p, (struct str){head.at, n});
    if (p->object.offered)
        p->state = OBJECT;
    else
        give_up(p);
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

static void end_call(struct toolcall_parser *p)
{
    flush(p);
    clear(p, &p->held);
    p->is_open = false;
    p->matched = 0;
    p->state = p->calls == p->calls_max ? OVER : AFTER;
}

static void in_object_byte(struct toolcall_parser *p, char c)
{
    int rc;

    if (!p->object.is_told)
        buf_putc(&p->held, c);
    rc = object_byte(p, c);
    if (rc == MORE && p->format->shape == TOOLCALL_NAMED && p->object.state == COMMA_OR_END)
        rc = WHOLE;
    if (rc == BROKEN || (rc == WHOLE && !p->object.is_told && !tell_call(p)))
        give_up(p);
    else if (rc == WHOLE)
        end_call(p);
}

static void in_tags_byte(struct toolcall_parser *p, char c)
{
    int rc;

    buf_putc(&p->held, c);
    rc = p->held.bad ? MORE : tags_byte(p, c);
    if (rc == BROKEN)
        give_up(p);
    else if (rc == WHOLE)
        end_call(p);
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
    if (half == 0 && (is_blank(c) || (c && c == p->format->between[0]))) {
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
        [TEXT] = text_byte,        [BEFORE] = before_byte, [HEAD] = head_byte,
        [OBJECT] = in_object_byte, [TAGS] = in_tags_byte,  [AFTER] = after_byte,
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
    return !p->is_bad && !p->held.bad && !p->told.bad && !p->made.bad;
}
