/* SPDX-License-Identifier: Apache-2.0 */
/* schemaobject.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sched/regex.h"

#include <stdlib.h>

bool schema_is_required(const struct members *m, const char *name)
{
    const json_t *one;
    size_t i;

    json_array_foreach(m->required, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), name) == 0)
            return true;
    }
    return false;
}

/* Names that are required and not among the properties become some. */
static int add_required(struct job *j, struct members *m, const struct path *at)
{
    json_t *all = NULL;
    const json_t *one;
    size_t i;

    json_array_foreach(m->required, i, one)
    {
        const char *name = json_string_value(one);

        if (!name)
            return schema_refuse(j, LLMOS_EINVAL, at, "required", "has something that is no name");
        if (json_object_get(all ? all : m->properties, name))
            continue;
        if (!m->rest && json_object_get(m->properties, name) == NULL && m->properties &&
            json_object_size(m->properties) == 0)
            return schema_refuse(j, LLMOS_EINVAL, at, "required",
                                 "names a property that is forbidden");
        if (!all)
            all = schema_keep(j, m->properties ? json_copy((json_t *)(uintptr_t)m->properties)
                                               : json_object());
        if (!all ||
            json_object_set(all, name, (json_t *)(uintptr_t)(m->rest ? m->rest : json_true())) < 0)
            return schema_no_memory(j);
    }
    if (all)
        m->properties = all;
    return 0;
}

static int take_members(struct job *j, const json_t *schema, const struct path *at,
                        struct members *m)
{
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *name;
    json_t *value;

    *m = (struct members){json_object_get(schema, "properties"),
                          json_object_get(schema, "required"), NULL};
    if (m->properties && !json_is_object(m->properties))
        return schema_refuse(j, LLMOS_EINVAL, at, "properties", "is not an object");
    if (m->required && !json_is_array(m->required))
        return schema_refuse(j, LLMOS_EINVAL, at, "required", "is not an array");
    if (more && !json_is_boolean(more) && !json_is_object(more))
        return schema_refuse(j, LLMOS_EINVAL, at, "additionalProperties", "is not a schema");
    if (more && !json_is_false(more))
        m->rest = more;
    else if (!more && !m->properties)
        m->rest = json_true();
    if (json_is_false(more) && m->required) {
        size_t i;

        json_array_foreach(m->required, i, value)
        {
            if (json_is_string(value) && !json_object_get(m->properties, json_string_value(value)))
                return schema_refuse(j, LLMOS_EINVAL, at, "required",
                                     "names a property that additionalProperties forbids");
        }
    }
    if (add_required(j, m, at) < 0)
        return LLMOS_EINVAL;
    json_object_foreach((json_t *)(uintptr_t)m->properties, name, value)
    {
        if (json_is_false(value) && schema_is_required(m, name))
            return schema_refuse(j, LLMOS_EINVAL, at, "required",
                                 "names a property that cannot be");
    }
    return 0;
}

static void put_key(struct buf *body, const char *name)
{
    CLEANUP(buf) struct buf key = {.limit_bytes = SCHEMA_GRAMMAR_MAX};

    json_put_string(&key, str_of(name));
    buf_putc(&key, ':');
    regex_put_literal(body, buf_str(&key));
    buf_puts(body, " ws ");
    body->bad |= key.bad;
}

/* The keys that share their first `depth` bytes, as a list of places in `names`, in order. */
struct keys {
    const char **at;
    size_t count;
};

static int order_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t char_bytes(const char *at)
{
    size_t n = utf8_length(str_of(at));

    return n ? n : 1;
}

/* Rules for what may follow behind the first characters of keys, and be none of them to its end:
 * another character and anything, or one of theirs and so on.  A tree of the keys, level by level
 * through a list: no recursion. */
static int put_other_keys(struct job *j, struct keys all, unsigned rule)
{
    struct level {
        size_t first, count, depth;
        unsigned rule;
    } * todo;
    size_t done = 0, count = 1, room = 1;
    int rc = 0;

    for (size_t i = 0; i < all.count; i++)
        room += strlen(all.at[i]);
    todo = mem_zalloc(room, sizeof(*todo));
    if (!todo)
        return schema_no_memory(j);
    todo[0] = (struct level){0, all.count, 0, rule};
    for (; done < count && !j->out->bad; done++) {
        struct level l = todo[done];
        CLEANUP(buf) struct buf others = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
        bool ends = false;

        buf_printf(j->out, "r%u ::= ", l.rule);
        for (size_t i = l.first; i < l.first + l.count;) {
            const char *c = all.at[i] + l.depth;
            size_t n = char_bytes(c), k = i + 1;

            if (!*c) {
                ends = true;
                i++;
                continue;
            }
            while (k < l.first + l.count && strncmp(all.at[k] + l.depth, c, n) == 0)
                k++;
            /* Characters that are escaped are left out where keys have them. */
            if ((unsigned char)*c >= 0x20 && *c != '"' && *c != '\\') {
                todo[count] = (struct level){i, k - i, l.depth + n, j->rules++};
                regex_put_literal(j->out, (struct str){c, n});
                buf_printf(j->out, " r%u | ", todo[count++].rule);
                if (*c == ']' || *c == '^' || *c == '-' || *c == '[')
                    buf_printf(&others, "\\x%02x", (unsigned char)*c);
                else
                    buf_put(&others, c, n);
            }
            i = k;
        }
        buf_printf(j->out, "%s[^\"\\\\\\x00-\\x1f%s] char*\n",
                   ends || l.depth == 0 ? "" : "\"\" | ", others.at ? others.at : "");
        j->out->bad |= others.bad;
    }
    mem_free(todo);
    return rc;
}

/* A rule for keys that are none of the properties. */
static int put_rest_key(struct job *j, const struct members *m, unsigned *rule)
{
    struct keys keys = {mem_alloc((json_object_size(m->properties) + 1) * sizeof(*keys.at)), 0};
    const char *name;
    json_t *value;
    int rc;

    if (!keys.at)
        return schema_no_memory(j);
    json_object_foreach((json_t *)(uintptr_t)m->properties, name, value) keys.at[keys.count++] =
        name;
    qsort(keys.at, keys.count, sizeof(*keys.at), order_keys);
    *rule = j->rules++;
    rc = put_other_keys(j, keys, *rule);
    mem_free(keys.at);
    return rc;
}

/* r<pair>: a property that is not named.  The first rule of out that says so. */
static int put_rest_pair(struct job *j, const struct members *m, const struct path *at,
                         unsigned *pair)
{
    const struct path here = {at, "additionalProperties", 0};
    CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    unsigned key = 0;
    int rc;

    if (json_object_size(m->properties) > 0) {
        rc = put_rest_key(j, m, &key);
        if (rc < 0)
            return rc;
        buf_printf(&one, "\"\\\"\" r%u \"\\\":\" ws ", key);
    } else {
        buf_puts(&one, "string \":\" ws ");
    }
    rc = schema_put_part(j, m->rest, &here, &one);
    if (rc < 0)
        return rc;
    if (one.bad)
        return schema_no_memory(j);
    *pair = j->rules++;
    buf_printf(j->out, "r%u ::= %s\n", *pair, one.at);
    return 0;
}

/* Rule `pair` of a property, and what may stand behind it: the next ones, each if it likes. */
static int put_property(struct job *j, const char *name, const json_t *schema,
                        const struct path *at, unsigned pair)
{
    const struct path here = {at, "properties", 0}, there = {&here, name, 0};
    CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    int rc;

    put_key(&one, name);
    rc = schema_put_part(j, schema, &there, &one);
    if (rc < 0)
        return rc;
    if (one.bad)
        return schema_no_memory(j);
    buf_printf(j->out, "r%u ::= %s\n", pair, one.at);
    return 0;
}

/* Rules of n properties: pair i is base + 2i, what stands behind i of them base + 2i + 1 - 2. */
int schema_put_objects(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    struct members m;
    unsigned base, pair = 0, n = 0, i = 0;
    const char *name;
    json_t *value;
    bool may_be_empty = true;
    int rc = take_members(j, schema, at, &m);

    if (rc < 0)
        return rc;
    if (json_is_true(m.rest) && json_object_size(m.properties) == 0) {
        buf_puts(body, "object ");
        return 0;
    }
    rc = m.rest ? put_rest_pair(j, &m, at, &pair) : 0;
    json_object_foreach((json_t *)(uintptr_t)m.properties, name, value) n += !json_is_false(value);
    base = j->rules;
    j->rules += 2 * n + 1;
    json_object_foreach((json_t *)(uintptr_t)m.properties, name, value)
    {
        if (rc < 0 || json_is_false(value))
            continue;
        rc = put_property(j, name, value, at, base + 2 * i + 1);
        /* Where i properties may stand behind something. */
        buf_printf(j->out,
                   schema_is_required(&m, name) ? "r%u ::= \",\" ws r%u r%u\n"
                                                : "r%u ::= (\",\" ws r%u)? r%u\n",
                   base + 2 * i, base + 2 * i + 1, base + 2 * i + 2);
        i++;
    }
    if (rc < 0)
        return rc;
    buf_printf(j->out, m.rest ? "r%u ::= (\",\" ws r%u)*\n" : "r%u ::= \"\"\n", base + 2 * n, pair);
    buf_puts(body, "\"{\" ws ( ");
    i = 0;
    json_object_foreach((json_t *)(uintptr_t)m.properties, name, value)
    {
        if (json_is_false(value) || !may_be_empty)
            continue;
        buf_printf(body, "%sr%u r%u ", i ? "| " : "", base + 2 * i + 1, base + 2 * i + 2);
        may_be_empty = !schema_is_required(&m, name);
        i++;
    }
    if (m.rest && may_be_empty)
        buf_printf(body, "%sr%u r%u ", i ? "| " : "", pair, base + 2 * n);
    buf_puts(body, may_be_empty ? ")? ws \"}\" " : ") ws \"}\" ");
    return 0;
}
