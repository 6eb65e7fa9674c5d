/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_value.c - see jinja_value.h */
#include "model/jinja_value.h"

#include "base/utf8.h"
#include "model/jinja_call.h"
#include "model/jinja_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define BYTES_PER_WORK 16

/* ---- the store ---- */

void jinja_store_init(struct jinja_store *s, const struct jinja_limits *limits,
                      struct llmos_error *err)
{
    *s = (struct jinja_store){.limits = *limits, .work_left = limits->work, .err = err};
    arena_init(&s->arena, limits->memory_bytes);
}

void jinja_store_fini(struct jinja_store *s)
{
    arena_fini(&s->arena);
}

struct jinja_value jinja_fail(struct jinja_store *s, int code, const char *format, ...)
{
    char text[sizeof(((struct llmos_error *)0)->text)];
    va_list args;

    if (s->rc < 0)
        return JINJA_NOTHING;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    s->rc = s->line ? fail(s->err, code, "line %" PRIu32 " of the chat template: %s", s->line, text)
                    : fail(s->err, code, "%s", text);
    return JINJA_NOTHING;
}

void *jinja_alloc(struct jinja_store *s, size_t count, size_t size)
{
    void *p;

    if (s->rc < 0)
        return NULL;
    p = arena_calloc(&s->arena, count, size);
    if (p)
        return p;
    if (count > (s->limits.memory_bytes - s->arena.used_bytes) / (size ? size : 1))
        jinja_fail(s, LLMOS_ELIMIT, "the conversation takes more than %zu MiB to write",
                   s->limits.memory_bytes >> 20);
    else
        jinja_fail(s, LLMOS_ENOMEM, "no memory to write the conversation");
    return NULL;
}

bool jinja_work(struct jinja_store *s, size_t bytes)
{
    uint64_t cost = 1 + bytes / BYTES_PER_WORK;

    if (s->rc < 0)
        return false;
    if (s->work_left >= cost) {
        s->work_left -= cost;
        return true;
    }
    s->work_left = 0;
    jinja_fail(s, LLMOS_ELIMIT, "more than %" PRIu64 " steps; does it loop for ever?",
               s->limits.work);
    return false;
}

bool jinja_enter(struct jinja_store *s)
{
    if (s->rc < 0)
        return false;
    if (s->depth < s->limits.depth) {
        s->depth++;
        return true;
    }
    jinja_fail(s, LLMOS_ELIMIT, "nested more than %u deep", s->limits.depth);
    return false;
}

/* ---- making values ---- */

struct jinja_value jinja_string(struct jinja_store *s, struct jinja_str text)
{
    struct jinja_str *kept = jinja_alloc(s, 1, sizeof(*kept));

    if (!kept)
        return JINJA_NOTHING;
    *kept = text;
    return (struct jinja_value){.kind = JINJA_STRING, .s = kept};
}

struct jinja_value jinja_copy(struct jinja_store *s, struct str text, bool said)
{
    struct jinja_build b;

    jinja_build_init(&b, s);
    jinja_put_text(&b, text, said);
    return jinja_built(&b);
}

/* Room for one more; false: failed. */
static bool grow(struct jinja_store *s, void **at, size_t count, size_t *room, size_t size)
{
    size_t more = *room < 4 ? 4 : *room * 2;
    void *grown;

    if (count < *room)
        return s->rc == 0;
    grown = jinja_alloc(s, more, size);
    if (!grown)
        return false;
    if (count)
        memcpy(grown, *at, count * size);
    *at = grown;
    *room = more;
    return true;
}

struct jinja_value jinja_list(struct jinja_store *s, enum jinja_row row, size_t room)
{
    struct jinja_list *list = jinja_alloc(s, 1, sizeof(*list));

    if (!list)
        return JINJA_NOTHING;
    list->row = row;
    if (room) {
        list->at = jinja_alloc(s, room, sizeof(*list->at));
        list->room = list->at ? room : 0;
    }
    return (struct jinja_value){.kind = JINJA_LIST, .list = list};
}

void jinja_append(struct jinja_store *s, struct jinja_value list, struct jinja_value item)
{
    struct jinja_list *l = list.list;

    if (s->rc < 0 || list.kind != JINJA_LIST)
        return;
    if (grow(s, (void **)&l->at, l->count, &l->room, sizeof(*l->at)))
        l->at[l->count++] = item;
}

struct jinja_value jinja_pair(struct jinja_store *s, struct jinja_value a, struct jinja_value b)
{
    struct jinja_value pair = jinja_list(s, ROW_TUPLE, 2);

    jinja_append(s, pair, a);
    jinja_append(s, pair, b);
    return pair;
}

struct jinja_value jinja_dict(struct jinja_store *s)
{
    struct jinja_dict *dict = jinja_alloc(s, 1, sizeof(*dict));

    return dict ? (struct jinja_value){.kind = JINJA_DICT, .dict = dict} : JINJA_NOTHING;
}

void jinja_set(struct jinja_store *s, struct jinja_value dict, struct jinja_value key,
               struct jinja_value value)
{
    struct jinja_value *old;
    struct jinja_dict *d = dict.dict;

    if (s->rc < 0)
        return;
    old = jinja_get(s, dict, key);
    if (old) {
        *old = value;
        return;
    }
    if (grow(s, (void **)&d->at, d->count, &d->room, sizeof(*d->at)))
        d->at[d->count++] = (struct jinja_entry){key, value};
}

void jinja_set_name(struct jinja_store *s, struct jinja_value dict, const char *name,
                    struct jinja_value value)
{
    jinja_set(s, dict, jinja_string(s, (struct jinja_str){.at = name, .len = strlen(name)}), value);
}

struct jinja_value *jinja_get(struct jinja_store *s, struct jinja_value dict,
                              struct jinja_value key)
{
    struct jinja_dict *d = dict.dict;

    if (key.kind == JINJA_STRING)
        return jinja_get_name(s, dict, (struct str){key.s->at, key.s->len});
    if (!jinja_work(s, d->count * BYTES_PER_WORK))
        return NULL;
    for (size_t i = 0; i < d->count; i++)
        if (jinja_equal(s, d->at[i].key, key))
            return &d->at[i].value;
    return NULL;
}

struct jinja_value *jinja_get_name(struct jinja_store *s, struct jinja_value dict, struct str name)
{
    struct jinja_dict *d = dict.dict;

    if (!jinja_work(s, d->count * 4))
        return NULL;
    for (size_t i = 0; i < d->count; i++) {
        const struct jinja_value *key = &d->at[i].key;

        if (key->kind == JINJA_STRING && key->s->len == name.len &&
            (name.len < 64 || jinja_work(s, name.len)) &&
            str_eq((struct str){key->s->at, key->s->len}, name))
            return &d->at[i].value;
    }
    return NULL;
}

/* ---- text in the making ---- */

void jinja_build_init(struct jinja_build *b, struct jinja_store *s)
{
    b->store = s;
    buf_init(&b->text, s->limits.memory_bytes / 2);
    buf_init(&b->said, s->limits.memory_bytes / 2);
}

void jinja_build_fini(struct jinja_build *b)
{
    buf_fini(&b->text);
    buf_fini(&b->said);
}

static void check_build(struct jinja_build *b)
{
    if (b->store->rc == 0 && (b->text.too_large || b->said.too_large))
        jinja_fail(b->store, LLMOS_ELIMIT, "a text of more than %zu bytes", b->text.limit_bytes);
    else if (b->store->rc == 0 && (b->text.bad || b->said.bad))
        jinja_fail(b->store, LLMOS_ENOMEM, "no memory to write the conversation");
}

/* Marks up to the end of the text. */
static void fill_said(struct jinja_build *b, unsigned char mark)
{
    size_t n = b->text.len - b->said.len;
    char *at = buf_reserve(&b->said, n);

    if (!at)
        return;
    memset(at, mark, n);
    b->said.len += n;
}

void jinja_put(struct jinja_build *b, struct jinja_str text)
{
    if (!jinja_work(b->store, text.len))
        return;
    if (text.said && b->said.len < b->text.len)
        fill_said(b, 0);
    buf_put(&b->text, text.at, text.len);
    if (text.said && !b->text.bad)
        buf_put(&b->said, text.said, text.len);
    check_build(b);
}

void jinja_put_text(struct jinja_build *b, struct str text, bool said)
{
    if (!jinja_work(b->store, text.len))
        return;
    if (said && b->said.len < b->text.len)
        fill_said(b, 0);
    utf8_put(&b->text, text);
    if (said && !b->text.bad)
        fill_said(b, 1);
    check_build(b);
}

struct jinja_value jinja_cut(struct jinja_build *b, size_t from)
{
    struct jinja_str cut = {.len = b->text.len - from};
    char *at = jinja_alloc(b->store, cut.len + 1, 1);
    unsigned char *said = NULL;

    if (at && b->said.len > from && memchr(b->said.at + from, 1, b->said.len - from)) {
        said = jinja_alloc(b->store, cut.len, 1);
        if (said)
            memcpy(said, b->said.at + from, b->said.len - from);
    }
    if (b->store->rc < 0)
        return JINJA_NOTHING;
    if (cut.len)
        memcpy(at, b->text.at + from, cut.len);
    cut.at = at;
    cut.said = said;
    b->text.len = from;
    if (b->said.len > from)
        b->said.len = from;
    return jinja_string(b->store, cut);
}

struct jinja_value jinja_built(struct jinja_build *b)
{
    struct jinja_value v = b->store->rc < 0 ? JINJA_NOTHING : jinja_cut(b, 0);

    jinja_build_fini(b);
    return v;
}

/* ---- questions ---- */

double jinja_real(struct jinja_value v)
{
    return v.kind == JINJA_FLOAT ? v.f : (double)jinja_integer(v);
}

const char *jinja_type(struct jinja_value v)
{
    static const char *const names[] = {"undefined", "None", "bool", "int",       "float",
                                        "str",       "list", "dict", "namespace", "function"};
    static const char *const rows[] = {"list",        "tuple",      "range",    "dict_keys",
                                       "dict_values", "dict_items", "generator"};

    return v.kind == JINJA_LIST ? rows[v.list->row] : names[v.kind];
}

bool jinja_true(struct jinja_value v)
{
    switch ((enum jinja_kind)v.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.b;
    case JINJA_INT:
        return v.i != 0;
    case JINJA_FLOAT:
        return v.f != 0;
    case JINJA_STRING:
        return v.s->len > 0;
    case JINJA_LIST:
        return v.list->row == ROW_GENERATOR || v.list->count > 0;
    case JINJA_DICT:
        return v.dict->count > 0;
    case JINJA_NAMESPACE:
    case JINJA_CALLABLE:
        return true;
    }
    return false;
}

/* Exact where a double cannot hold the integer. */
static int compare_numbers(struct jinja_value a, struct jinja_value b)
{
    if (a.kind != JINJA_FLOAT && b.kind != JINJA_FLOAT) {
        int64_t i = jinja_integer(a), k = jinja_integer(b);

        return (i > k) - (i < k);
    }
    return (jinja_real(a) > jinja_real(b)) - (jinja_real(a) < jinja_real(b));
}

static bool equal_lists(struct jinja_store *s, const struct jinja_list *a,
                        const struct jinja_list *b)
{
    bool same = a == b || (a->row <= ROW_TUPLE && a->row == b->row && a->count == b->count);

    if (!jinja_enter(s))
        return false;
    for (size_t i = 0; a != b && same && i < a->count; i++)
        same = jinja_equal(s, a->at[i], b->at[i]);
    jinja_leave(s);
    return same;
}

static bool equal_dicts(struct jinja_store *s, struct jinja_value a, struct jinja_value b)
{
    bool same = a.dict == b.dict || a.dict->count == b.dict->count;

    if (!jinja_enter(s))
        return false;
    for (size_t i = 0; a.dict != b.dict && same && i < a.dict->count; i++) {
        const struct jinja_value *other = jinja_get(s, b, a.dict->at[i].key);

        same = other && jinja_equal(s, a.dict->at[i].value, *other);
    }
    jinja_leave(s);
    return same;
}

bool jinja_equal(struct jinja_store *s, struct jinja_value a, struct jinja_value b)
{
    if (!jinja_work(s, 0))
        return false;
    if (jinja_is_number(a) && jinja_is_number(b))
        return (a.kind != JINJA_FLOAT || !isnan(a.f)) && (b.kind != JINJA_FLOAT || !isnan(b.f)) &&
               compare_numbers(a, b) == 0;
    if (a.kind != b.kind)
        return false;
    switch ((enum jinja_kind)a.kind) {
    case JINJA_STRING:
        return a.s->len == b.s->len && jinja_work(s, a.s->len) &&
               str_eq((struct str){a.s->at, a.s->len}, (struct str){b.s->at, b.s->len});
    case JINJA_LIST:
        return equal_lists(s, a.list, b.list);
    case JINJA_DICT:
        return equal_dicts(s, a, b);
    case JINJA_NAMESPACE:
        return a.dict == b.dict;
    case JINJA_CALLABLE:
        return a.call == b.call;
    default:
        return true; /* None and None, undefined and undefined */
    }
}

static int compare_lists(struct jinja_store *s, const struct jinja_list *a,
                         const struct jinja_list *b)
{
    int order = 0;

    if (!jinja_enter(s))
        return 0;
    for (size_t i = 0; order == 0 && s->rc == 0 && i < a->count && i < b->count; i++)
        if (!jinja_equal(s, a->at[i], b->at[i]))
            order = jinja_compare(s, a->at[i], b->at[i]);
    jinja_leave(s);
    return order ? order : (a->count > b->count) - (a->count < b->count);
}

int jinja_compare(struct jinja_store *s, struct jinja_value a, struct jinja_value b)
{
    if (!jinja_work(s, 0))
        return 0;
    if (jinja_is_number(a) && jinja_is_number(b))
        return compare_numbers(a, b);
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        size_t n = a.s->len < b.s->len ? a.s->len : b.s->len;
        int order = n && jinja_work(s, n) ? memcmp(a.s->at, b.s->at, n) : 0;

        return order ? order : (a.s->len > b.s->len) - (a.s->len < b.s->len);
    }
    if (a.kind == JINJA_LIST && b.kind == JINJA_LIST && a.list->row == b.list->row &&
        a.list->row <= ROW_TUPLE)
        return compare_lists(s, a.list, b.list);
    jinja_fail(s, LLMOS_EINVAL, "a %s and a %s have no order", jinja_type(a), jinja_type(b));
    return 0;
}

bool jinja_contains(struct jinja_store *s, struct jinja_value in, struct jinja_value what)
{
    const struct jinja_list *list;

    if (in.kind == JINJA_STRING && what.kind == JINJA_STRING)
        return jinja_work(s, in.s->len) &&
               memmem(in.s->at, in.s->len, what.s->at, what.s->len) != NULL;
    if (in.kind == JINJA_STRING) {
        jinja_fail(s, LLMOS_EINVAL, "a str cannot contain a %s", jinja_type(what));
        return false;
    }
    if (in.kind == JINJA_DICT)
        return jinja_get(s, in, what) != NULL;
    list = jinja_iterate(s, in);
    for (size_t i = 0; list && s->rc == 0 && i < list->count; i++)
        if (jinja_equal(s, list->at[i], what))
            return true;
    return false;
}

int64_t jinja_length(struct jinja_value v)
{
    if (v.kind == JINJA_STRING)
        return (int64_t)utf8_count((struct str){v.s->at, v.s->len});
    if (v.kind == JINJA_LIST && v.list->row != ROW_GENERATOR)
        return (int64_t)v.list->count;
    if (v.kind == JINJA_DICT)
        return (int64_t)v.dict->count;
    return v.kind == JINJA_UNDEFINED ? 0 : -1;
}

bool jinja_iterable(struct jinja_value v)
{
    return v.kind == JINJA_STRING || v.kind == JINJA_LIST || v.kind == JINJA_DICT ||
           v.kind == JINJA_UNDEFINED;
}

static void split_characters(struct jinja_store *s, struct jinja_value list, struct jinja_str text)
{
    for (size_t at = 0; s->rc == 0 && at < text.len;) {
        size_t n = jinja_char_bytes(text, at);

        jinja_append(s, list, jinja_string(s, jinja_part(text, at, at + n)));
        at += n;
    }
}

struct jinja_list *jinja_iterate(struct jinja_store *s, struct jinja_value v)
{
    struct jinja_value made;

    if (!jinja_iterable(v)) {
        jinja_fail(s, LLMOS_EINVAL, "a %s cannot be iterated", jinja_type(v));
        return NULL;
    }
    if (v.kind == JINJA_LIST && v.list->row != ROW_GENERATOR)
        return s->rc < 0 ? NULL : v.list;
    made = jinja_list(s, ROW_LIST, v.kind == JINJA_DICT ? v.dict->count : 0);
    if (s->rc < 0)
        return NULL;
    if (v.kind == JINJA_LIST) {
        *made.list = *v.list;
        made.list->row = ROW_LIST;
        v.list->count = 0;
    } else if (v.kind == JINJA_STRING) {
        split_characters(s, made, *v.s);
    } else if (v.kind == JINJA_DICT) {
        for (size_t i = 0; i < v.dict->count; i++)
            jinja_append(s, made, v.dict->at[i].key);
    }
    return s->rc < 0 ? NULL : made.list;
}

/* ---- as text ---- */

void jinja_float_text(char *out, double v)
{
    char digits[40], *e;
    int exponent, precision = 1;

    if (!isfinite(v)) {
        snprintf(out, 40, "%s", isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
        return;
    }
    do
        snprintf(digits, sizeof(digits), "%.*e", precision - 1, v);
    while (strtod(digits, NULL) != v && precision++ < 17);
    e = strchr(digits, 'e');
    exponent = (int)strtol(e + 1, NULL, 10);
    if (exponent >= -4 && exponent < 16) {
        snprintf(out, 40, "%.*f", precision - 1 > exponent ? precision - 1 - exponent : 1, v);
        return;
    }
    *e = '\0';
    snprintf(out, 40, "%.24se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
}

/* It was made whole: what it was made of is seen in its ends. */
static void put_range(struct jinja_build *b, const struct jinja_list *list)
{
    int64_t from = list->count ? list->at[0].i : 0, to = from;
    int64_t step = list->count > 1 ? list->at[1].i - from : 1;
    char text[80];

    if (list->count)
        to = list->at[list->count - 1].i + (step < 0 ? -1 : 1);
    snprintf(text, sizeof(text),
             step == 1 ? "%" PRId64 ", %" PRId64 : "%" PRId64 ", %" PRId64 ", %" PRId64, from, to,
             step);
    jinja_put_text(b, str_of(text), false);
}

static void put_list(struct jinja_build *b, const struct jinja_list *list)
{
    static const char *const marks[][2] = {{"[", "]"},
                                           {"(", ")"},
                                           {"range(", ")"},
                                           {"dict_keys([", "])"},
                                           {"dict_values([", "])"},
                                           {"dict_items([", "])"},
                                           {"<generator ", ">"}};

    jinja_put_text(b, str_of(marks[list->row][0]), false);
    if (list->row == ROW_RANGE) {
        put_range(b, list);
    } else if (list->row != ROW_GENERATOR) {
        for (size_t i = 0; i < list->count && b->store->rc == 0; i++) {
            jinja_put_text(b, str_of(i ? ", " : ""), false);
            jinja_put_repr(b, list->at[i]);
        }
        if (list->row == ROW_TUPLE && list->count == 1)
            jinja_put_text(b, STR(","), false);
    }
    jinja_put_text(b, str_of(marks[list->row][1]), false);
}

static void put_dict(struct jinja_build *b, const struct jinja_dict *dict)
{
    jinja_put_text(b, STR("{"), false);
    for (size_t i = 0; i < dict->count && b->store->rc == 0; i++) {
        jinja_put_text(b, str_of(i ? ", " : ""), false);
        jinja_put_repr(b, dict->at[i].key);
        jinja_put_text(b, STR(": "), false);
        jinja_put_repr(b, dict->at[i].value);
    }
    jinja_put_text(b, STR("}"), false);
}

static void put_number(struct jinja_build *b, struct jinja_value v)
{
    char text[40];

    if (v.kind == JINJA_FLOAT)
        jinja_float_text(text, v.f);
    else
        snprintf(text, sizeof(text), "%" PRId64, v.i);
    jinja_put_text(b, str_of(text), v.said);
}

void jinja_put_repr(struct jinja_build *b, struct jinja_value v)
{
    if (v.kind == JINJA_STRING && v.is_safe)
        jinja_put_text(b, STR("Markup("), false);
    if (v.kind == JINJA_STRING)
        jinja_put_quoted(b, *v.s);
    if (v.kind == JINJA_STRING && v.is_safe)
        jinja_put_text(b, STR(")"), false);
    if (v.kind == JINJA_STRING)
        return;
    if (v.kind == JINJA_UNDEFINED)
        jinja_put_text(b, STR("Undefined"), false);
    else
        jinja_put_str(b, v);
}

void jinja_put_str(struct jinja_build *b, struct jinja_value v)
{
    if (!jinja_enter(b->store))
        return;
    switch ((enum jinja_kind)v.kind) {
    case JINJA_UNDEFINED:
        break;
    case JINJA_NONE:
        jinja_put_text(b, STR("None"), false);
        break;
    case JINJA_BOOL:
        jinja_put_text(b, str_of(v.b ? "True" : "False"), false);
        break;
    case JINJA_INT:
    case JINJA_FLOAT:
        put_number(b, v);
        break;
    case JINJA_STRING:
        jinja_put(b, *v.s);
        break;
    case JINJA_LIST:
        put_list(b, v.list);
        break;
    case JINJA_DICT:
        put_dict(b, v.dict);
        break;
    case JINJA_NAMESPACE:
        jinja_put_text(b, STR("<Namespace "), false);
        put_dict(b, v.dict);
        jinja_put_text(b, STR(">"), false);
        break;
    case JINJA_CALLABLE:
        jinja_put_callable(b, v.call);
        break;
    }
    jinja_leave(b->store);
}

struct jinja_str jinja_str_of(struct jinja_store *s, struct jinja_value v)
{
    struct jinja_build b;

    if (v.kind == JINJA_STRING)
        return *v.s;
    jinja_build_init(&b, s);
    jinja_put_str(&b, v);
    v = jinja_built(&b);
    return v.kind == JINJA_STRING ? *v.s : JINJA_STR("");
}
