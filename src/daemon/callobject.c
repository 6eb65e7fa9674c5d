/* SPDX-License-Identifier: Apache-2.0 */
/* callobject.c - the JSON object of a call, byte by byte; see callpart.h */
#include "daemon/callpart.h"

enum { KEY_OR_END, KEY_NEXT, KEY, COLON, VALUE, STRING, NESTED, SCALAR, COMMA_OR_END };
enum { OTHER, NAME, ARGUMENTS };

static int member_of(const struct toolcall_object *o)
{
    struct str key = {o->key, o->key_len};

    if (str_is(key, "name") || str_is(key, "tool_name"))
        return NAME;
    return str_is(key, "arguments") || str_is(key, "parameters") ? ARGUMENTS : OTHER;
}

static enum callpart key_byte(struct toolcall_object *o, char c)
{
    if (!o->is_escaped && c == '"') {
        o->state = COLON;
        return CALLPART_MORE;
    }
    o->is_escaped = !o->is_escaped && c == '\\';
    if (o->key_len < sizeof(o->key)) /* one that is longer is none of ours */
        o->key[o->key_len++] = c;
    return CALLPART_MORE;
}

static enum callpart value_begins(struct toolcall_parser *p, char c)
{
    struct toolcall_object *o = &p->object;

    o->member = member_of(o);
    if ((o->member == NAME && (c != '"' || o->offered)) ||
        (o->member == ARGUMENTS && (c != '{' || o->end || o->is_told)) || strchr(",:}]", c))
        return CALLPART_BROKEN;
    o->state = c == '"' ? STRING : c == '{' || c == '[' ? NESTED : SCALAR;
    o->depth = o->state == NESTED;
    o->in_string = o->is_escaped = false;
    if (o->member != ARGUMENTS)
        return CALLPART_MORE;
    if (p->is_strict && o->offered) {
        toolcall_tell_begin(p);
        toolcall_tell(p, TOOLCALL_ARGUMENTS, (struct str){&c, 1});
        o->is_told = true;
    }
    o->begin = p->held.len - 1;
    return CALLPART_MORE;
}

static enum callpart string_byte(struct toolcall_parser *p, char c)
{
    struct toolcall_object *o = &p->object;

    if (!o->is_escaped && c == '"') {
        o->state = COMMA_OR_END;
        if (o->member == NAME)
            o->offered = toolcall_find(p, (struct str){o->name, o->name_len});
        return o->member == NAME && !o->offered ? CALLPART_BROKEN : CALLPART_MORE;
    }
    o->is_escaped = !o->is_escaped && c == '\\';
    if (o->member != NAME)
        return CALLPART_MORE;
    if (c == '\\' || o->name_len == TOOLCALL_NAME_MAX)
        return CALLPART_BROKEN; /* no function is called that */
    o->name[o->name_len++] = c;
    return CALLPART_MORE;
}

static enum callpart nested_byte(struct toolcall_parser *p, char c)
{
    struct toolcall_object *o = &p->object;

    if (o->member == ARGUMENTS && o->is_told)
        toolcall_tell(p, TOOLCALL_ARGUMENTS, (struct str){&c, 1});
    if (o->in_string) {
        if (c == '"' && !o->is_escaped)
            o->in_string = false;
        o->is_escaped = !o->is_escaped && c == '\\';
        return CALLPART_MORE;
    }
    o->in_string = c == '"';
    o->is_escaped = false;
    if (c == '{' || c == '[')
        o->depth++;
    else if ((c == '}' || c == ']') && --o->depth == 0) {
        o->state = COMMA_OR_END;
        if (o->member == ARGUMENTS)
            o->end = p->held.len;
        return o->is_alone ? CALLPART_WHOLE : CALLPART_MORE;
    }
    return CALLPART_MORE;
}

static enum callpart between_byte(struct toolcall_object *o, char c)
{
    if (c == '}' && o->state != KEY_NEXT && o->state != COLON)
        return CALLPART_WHOLE;
    if (o->state == COMMA_OR_END && c == ',')
        o->state = KEY_NEXT;
    else if (o->state == COLON && c == ':')
        o->state = VALUE;
    else if ((o->state == KEY_OR_END || o->state == KEY_NEXT) && c == '"') {
        o->state = KEY;
        o->key_len = 0;
        o->is_escaped = false;
    } else
        return CALLPART_BROKEN;
    return CALLPART_MORE;
}

void callobject_begin(struct toolcall_parser *p)
{
    p->object = (struct toolcall_object){.state = KEY_OR_END};
}

void callobject_begin_arguments(struct toolcall_parser *p, const struct toolcall_function *offered)
{
    p->object = (struct toolcall_object){
        .state = VALUE, .key = "arguments", .key_len = 9, .is_alone = true, .offered = offered};
}

enum callpart callobject_byte(struct toolcall_parser *p, char c)
{
    struct toolcall_object *o = &p->object;

    if (o->state == KEY)
        return key_byte(o, c);
    if (o->state == STRING)
        return string_byte(p, c);
    if (o->state == NESTED)
        return nested_byte(p, c);
    if (o->state == SCALAR && !callpart_is_blank(c) && c != ',' && c != '}')
        return strchr("{[\"", c) ? CALLPART_BROKEN : CALLPART_MORE;
    if (o->state == SCALAR)
        o->state = COMMA_OR_END;
    if (callpart_is_blank(c))
        return CALLPART_MORE;
    return o->state == VALUE ? value_begins(p, c) : between_byte(o, c);
}
