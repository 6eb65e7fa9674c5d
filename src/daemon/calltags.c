/* SPDX-License-Identifier: Apache-2.0 */
/* calltags.c - a call whose name and arguments stand between tags, byte by byte; see callpart.h */
#include "daemon/callpart.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sched/schema.h"

enum { FUNCTION, ITEM, VALUE, CONTENT };

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

/* What a value is, of what stands between its tags. */
static struct str without_feeds(const struct callform_tags *tags, struct str text)
{
    if (!tags->has_feeds)
        return text;
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
    toolcall_tell(p, TOOLCALL_ARGUMENTS, buf_str(&p->made));
    toolcall_clear(p, &p->made);
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
    v = value_of(p, without_feeds(p->format->tags, text), types_of(p->object.offered, key));
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

static struct str item_of(const struct toolcall_parser *p)
{
    return (struct str){p->held.at + p->item_from, p->held.len - p->item_from};
}

/* What begins at item_from and stands between two tags, up to the second; *text is what stands
 * there. */
static enum callpart between(const struct toolcall_parser *p, const char *opening, const char *end,
                             struct str *text)
{
    struct str item = item_of(p), first = str_of(opening), last = str_of(end);

    if (item.len <= first.len)
        return str_starts(first, item) ? CALLPART_MORE : CALLPART_BROKEN;
    if (!str_starts(item, first) || item.len > first.len + KEY_MAX + last.len)
        return CALLPART_BROKEN;
    *text = (struct str){item.at + first.len, item.len - first.len};
    if (text->len < last.len || !str_ends(*text, last))
        return CALLPART_MORE;
    text->len -= last.len;
    return CALLPART_WHOLE;
}

static enum callpart begin_items(struct toolcall_parser *p, struct str name)
{
    p->object.offered = toolcall_find(p, name);
    if (!p->object.offered)
        return CALLPART_BROKEN;
    p->object.state = ITEM;
    json_decref(p->said);
    p->said = json_object();
    p->is_bad |= !p->said;
    toolcall_clear(p, &p->made);
    buf_putc(&p->made, '{');
    if (p->is_strict) {
        toolcall_tell_begin(p);
        p->object.is_told = true;
    }
    tell_made(p);
    return CALLPART_MORE;
}

static enum callpart item_byte(struct toolcall_parser *p);

/* The name ends where its tag does, or before what comes next. */
static enum callpart function_byte(struct toolcall_parser *p, char c)
{
    const struct callform_tags *t = p->format->tags;
    struct str name = item_of(p);
    enum callpart rc;

    if (t->name_end[0]) {
        rc = between(p, t->name, t->name_end, &name);
        p->item_from = rc == CALLPART_WHOLE ? p->held.len : p->item_from;
        return rc == CALLPART_WHOLE ? begin_items(p, name) : rc;
    }
    if (!callpart_is_blank(c) && c != t->end[0])
        return name.len > KEY_MAX ? CALLPART_BROKEN : CALLPART_MORE;
    name.len--;
    rc = begin_items(p, name);
    p->item_from = p->held.len - !callpart_is_blank(c);
    return rc == CALLPART_MORE && !callpart_is_blank(c) ? item_byte(p) : rc;
}

static enum callpart end_items(struct toolcall_parser *p)
{
    buf_putc(&p->made, '}');
    if (!p->is_strict) {
        toolcall_tell_begin(p);
        toolcall_tell(p, TOOLCALL_ARGUMENTS, buf_str(&p->made));
    }
    tell_made(p);
    return CALLPART_WHOLE;
}

/* The key of the next argument, or the end of the call. */
static enum callpart item_byte(struct toolcall_parser *p)
{
    const struct callform_tags *t = p->format->tags;
    struct str item = item_of(p), key;
    enum callpart rc;

    if (str_eq(item, str_of(t->end)))
        return end_items(p);
    if (str_starts(str_of(t->end), item))
        return CALLPART_MORE;
    rc = between(p, t->key, t->key_end, &key);
    if (rc != CALLPART_WHOLE)
        return rc;
    p->key_from = (size_t)(key.at - p->held.at);
    p->key_len = key.len;
    p->item_from = p->held.len;
    p->object.state = t->value[0] ? VALUE : CONTENT;
    return CALLPART_MORE;
}

static enum callpart value_byte(struct toolcall_parser *p)
{
    struct str opening = str_of(p->format->tags->value), item = item_of(p);

    if (!str_starts(opening, item))
        return CALLPART_BROKEN;
    if (item.len == opening.len) {
        p->item_from = p->held.len;
        p->object.state = CONTENT;
    }
    return CALLPART_MORE;
}

static enum callpart content_byte(struct toolcall_parser *p, char c)
{
    struct str end = str_of(p->format->tags->value_end), item = item_of(p);

    if (c != end.at[end.len - 1] || !str_ends(item, end))
        return CALLPART_MORE;
    if (!take_parameter(p, (struct str){item.at, item.len - end.len}))
        return CALLPART_BROKEN;
    if (p->object.is_told)
        toolcall_clear(p, &p->held);
    p->object.state = ITEM;
    p->item_from = p->held.len;
    return CALLPART_MORE;
}

void calltags_begin(struct toolcall_parser *p)
{
    p->object = (struct toolcall_object){.state = FUNCTION};
    p->item_from = p->held.len;
}

enum callpart calltags_byte(struct toolcall_parser *p, char c)
{
    if (p->object.state == CONTENT)
        return content_byte(p, c);
    if (callpart_is_blank(c) && p->held.len - p->item_from == 1) { /* between two tags */
        p->item_from++;
        return CALLPART_MORE;
    }
    return p->object.state == FUNCTION ? function_byte(p, c)
           : p->object.state == ITEM   ? item_byte(p)
                                       : value_byte(p);
}
