/* SPDX-License-Identifier: Apache-2.0 */
/* schemaobject.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/jsontext.h"
#include "base/mem.h"

#define PATTERNS_MAX 8 /* of patternProperties: each doubles the kinds of names */

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

static int take_members(struct job *j, const json_t *schema, const struct path *at,
                        struct members *m)
{
    const json_t *more = json_object_get(schema, "additionalProperties");

    *m = (struct members){json_object_get(schema, "properties"),
                          json_object_get(schema, "required"), NULL};
    if (m->properties && !json_is_object(m->properties))
        return schema_refuse(j, LLMOS_EINVAL, at, "properties", "is not an object");
    if (m->required && !json_is_array(m->required))
        return schema_refuse(j, LLMOS_EINVAL, at, "required", "is not an array");
    if (more && !json_is_boolean(more) && !json_is_object(more))
        return schema_refuse(j, LLMOS_EINVAL, at, "additionalProperties", "is not a schema");
    if (!more && json_is_false(json_object_get(schema, "unevaluatedProperties")))
        more = json_false();
    if (more && !json_is_false(more))
        m->rest = more;
    else if (!more && !m->properties && !json_object_get(schema, "patternProperties"))
        m->rest = json_true();
    return 0;
}

/* --- names: patternProperties and propertyNames --- */

struct pattern {
    const char *text;
    const json_t *schema;
    struct automaton names;
};

/* What is said of names, as a schema of strings. */
struct naming {
    struct pattern patterns[PATTERNS_MAX];
    size_t pattern_count;
    const json_t *names; /* propertyNames without references; NULL: nothing is said */
    json_t *listed;      /* all names that there may be; NULL: not listed */
    bool is_closed;      /* others are forbidden, not just unnamed */
};

static void naming_fini(struct naming *n)
{
    for (size_t i = 0; i < n->pattern_count; i++)
        automaton_fini(&n->patterns[i].names);
    json_decref(n->listed);
}

static int pattern_set(struct job *j, const char *pattern, const struct path *at,
                       struct automaton *a)
{
    json_t *text = json_string(pattern);
    int rc = text ? schema_regex_set(j, "pattern", text, at, a) : schema_no_memory(j);

    json_decref(text);
    return rc;
}

int schema_name_matches(struct job *j, const char *pattern, const char *name, const struct path *at)
{
    CLEANUP(automaton) struct automaton a = {.states = {.at = NULL}};
    int rc = pattern_set(j, pattern, at, &a);

    return rc < 0 ? rc : automaton_has(&a, str_of(name));
}

int schema_name_holds(struct job *j, const json_t *names, const char *name, const struct path *at)
{
    const struct path here = {at, "propertyNames", 0};
    json_t *text = json_string(name);
    int rc = text ? schema_holds(j, names, text, &here) : schema_no_memory(j);

    json_decref(text);
    return rc;
}

static int take_patterns(struct job *j, const json_t *schema, const struct path *at,
                         struct naming *n)
{
    const json_t *all = json_object_get(schema, "patternProperties");
    const struct path here = {at, "patternProperties", 0};
    const char *text;
    json_t *value;
    int rc = 0;

    if (all && !json_is_object(all))
        return schema_refuse(j, LLMOS_EINVAL, at, "patternProperties", "is not an object");
    if (json_object_size(all) > PATTERNS_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, "patternProperties", "has more than 8 patterns");
    json_object_foreach((json_t *)(uintptr_t)all, text, value)
    {
        struct pattern *p = &n->patterns[n->pattern_count];

        *p = (struct pattern){.text = text, .schema = value};
        if (rc == 0)
            rc = pattern_set(j, text, &here, &p->names);
        n->pattern_count += rc == 0;
    }
    return rc;
}

static int take_names(struct job *j, const json_t *schema, const struct path *at, struct naming *n)
{
    const json_t *names = json_object_get(schema, "propertyNames");
    const struct path here = {at, "propertyNames", 0};
    json_t *flat = NULL;
    int rc;

    if (!names || json_is_true(names))
        return 0;
    if (json_is_false(names)) {
        n->names = names;
        n->listed = json_array();
        return n->listed ? 0 : schema_no_memory(j);
    }
    if (!json_is_object(names))
        return schema_refuse(j, LLMOS_EINVAL, at, "propertyNames", "is not a schema");
    rc = schema_flatten(j, names, &here, &flat);
    if (rc < 0)
        return rc;
    n->names = flat;
    n->listed = schema_listed(j, flat, &here, &rc);
    if (rc < 0 || n->listed)
        return rc;
    if (json_object_get(flat, "anyOf") || json_object_get(flat, "oneOf"))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "propertyNames",
                             "of several branches is not supported");
    if (json_object_get(flat, "type") &&
        !(schema_type_bits(json_object_get(flat, "type")) & STRING))
        n->listed = json_array(); /* no name is one */
    return 0;
}

/* What a name's property must be: all that is said of it.  NULL: an error. */
static const json_t *said_of(struct job *j, const struct members *m, const struct naming *n,
                             const char *name, const struct path *at)
{
    const json_t *own = json_object_get(m->properties, name);
    const json_t *all = own ? own : json_true();
    bool is_named = own != NULL;

    for (size_t i = 0; i < n->pattern_count && all; i++) {
        if (!automaton_has(&n->patterns[i].names, str_of(name)))
            continue;
        is_named = true;
        all = schema_keep(j, schema_all_of(all, n->patterns[i].schema));
    }
    if (all && n->names) {
        int rc = schema_name_holds(j, n->names, name, at);

        if (rc < 0)
            return NULL;
        if (rc == 0)
            return json_false();
    }
    if (!all)
        schema_no_memory(j);
    return !all || is_named ? all : m->rest ? m->rest : n->is_closed ? json_false() : json_true();
}

static int check_required(struct job *j, const struct members *m, const struct naming *n,
                          const struct path *at)
{
    const json_t *one;
    size_t i;

    json_array_foreach(m->required, i, one)
    {
        if (!json_is_string(one))
            return schema_refuse(j, LLMOS_EINVAL, at, "required", "has something that is no name");
        if (n->is_closed && n->pattern_count == 0 &&
            !json_object_get(m->properties, json_string_value(one)))
            return schema_nothing(j, at, "required",
                                  "names a property that additionalProperties forbids");
    }
    return 0;
}

/* All names that are known: those of the properties, required ones, and those that are listed, each
 * with all that is said of it. */
static int gather(struct job *j, struct members *m, const struct naming *n, const struct path *at)
{
    json_t *all = schema_keep(j, json_object()), *one;
    const char *name;
    size_t i;

    json_object_foreach((json_t *)(uintptr_t)m->properties, name, one)
        json_object_set(all, name, one);
    json_array_foreach(m->required, i, one)
        json_object_set(all, json_string_value(one), json_true());
    json_array_foreach(n->listed, i, one)
    {
        if (json_is_string(one))
            json_object_set(all, json_string_value(one), json_true());
    }
    json_object_foreach(all, name, one)
    {
        const json_t *said = said_of(j, m, n, name, at);

        if (!said)
            return j->err->code;
        if (json_is_false(said) && schema_is_required(m, name))
            return schema_nothing(j, at, "required", "names a property that cannot be");
        if (json_object_set(all, name, (json_t *)(uintptr_t)said) < 0)
            return schema_no_memory(j);
    }
    m->properties = all;
    return all ? 0 : schema_no_memory(j);
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

/* --- properties that are not named --- */

static bool has_rest(const struct members *m, const struct naming *n)
{
    return !n->listed && (m->rest || n->pattern_count > 0);
}

/* All names but those that are known, as far as propertyNames lets them. */
static int other_names(struct job *j, const struct members *m, const struct naming *n,
                       const struct path *at, struct automaton *a)
{
    CLEANUP(free)
    struct str *words = mem_alloc((json_object_size(m->properties) + 1) * sizeof(*words));
    const struct path here = {at, "propertyNames", 0};
    struct llmos_error why = {0};
    struct automaton named;
    size_t count = 0;
    const char *name;
    json_t *value;
    int rc = words ? 0 : schema_no_memory(j);

    if (rc == 0 && n->names)
        rc = schema_string_set(j, n->names, &here, a);
    else if (rc == 0)
        rc = automaton_of_lengths(a, 0, REGEX_NO_END, j->err);
    if (rc < 0)
        return rc;
    json_object_foreach((json_t *)(uintptr_t)m->properties, name, value) words[count++] =
        str_of(name);
    rc = automaton_of_words(&named, words, count, &j->work, &why);
    if (rc == 0) {
        rc = automaton_narrow(a, &named, AUTOMATON_AND_NOT, &j->work, &why);
        automaton_fini(&named);
    }
    if (rc < 0)
        automaton_fini(a);
    return rc < 0 ? schema_refuse(j, rc, at, "additionalProperties", why.text) : 0;
}

/* A rule for properties of these names; 0 in *pair: none can be.  Rules are numbered from 1 here.
 */
static int put_pair(struct job *j, const struct automaton *names, const json_t *schema,
                    const struct path *at, unsigned *pair)
{
    CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    int rc;

    *pair = 0;
    if (names && automaton_is_empty(names))
        return 0;
    if (names) {
        buf_printf(&one, "\"\\\"\" r%u \"\\\":\" ws ", j->rules);
        automaton_put(j->out, names, true, "char*", &j->rules);
    } else {
        buf_puts(&one, "string \":\" ws ");
    }
    rc = schema_put_part(j, schema, at, &one);
    if (rc < 0)
        return j->is_nothing ? 0 : rc;
    if (one.bad)
        return schema_no_memory(j);
    *pair = ++j->rules;
    buf_printf(j->out, "r%u ::= %s\n", *pair - 1, one.at);
    return 0;
}

/* Names that match the patterns whose bits are set and no other one, with what those say. */
static int put_region(struct job *j, const struct members *m, const struct naming *n, unsigned set,
                      const struct automaton *others, const struct path *at, unsigned *pair)
{
    const struct path here = {at, set ? "patternProperties" : "additionalProperties", 0};
    CLEANUP(automaton) struct automaton names = {.states = {.at = NULL}};
    struct llmos_error why = {0};
    const json_t *schema = set ? json_true() : m->rest;
    int rc = 0;

    *pair = 0;
    if (!schema || json_is_false(schema))
        return 0;
    for (size_t i = 0; rc == 0 && i < n->pattern_count; i++) {
        bool is_in = set >> i & 1;
        const struct automaton *so_far = i ? &names : others;
        struct automaton next;

        rc = automaton_of_two(&next, so_far, &n->patterns[i].names,
                              is_in ? AUTOMATON_AND : AUTOMATON_AND_NOT, &j->work, &why);
        if (rc < 0)
            return schema_refuse(j, rc, at, "patternProperties", why.text);
        automaton_fini(&names);
        names = next;
        if (automaton_is_empty(&names))
            return 0;
        schema = is_in ? schema_keep(j, schema_all_of(schema, n->patterns[i].schema)) : schema;
        rc = schema ? 0 : schema_no_memory(j);
    }
    return rc < 0 ? rc : put_pair(j, n->pattern_count ? &names : others, schema, &here, pair);
}

/* A rule for any property that is not named; 0 in *rest: there is none. */
static int put_rest(struct job *j, const struct members *m, const struct naming *n,
                    const struct path *at, unsigned *rest)
{
    const struct path here = {at, "additionalProperties", 0};
    CLEANUP(automaton) struct automaton others = {.states = {.at = NULL}};
    CLEANUP(buf) struct buf all = {.limit_bytes = 1 << 16};
    int rc;

    *rest = 0;
    if (!has_rest(m, n))
        return 0;
    if (json_object_size(m->properties) == 0 && !n->names && n->pattern_count == 0)
        return put_pair(j, NULL, m->rest, &here, rest);
    rc = other_names(j, m, n, at, &others);
    for (unsigned set = 0; rc == 0 && set < 1u << n->pattern_count; set++) {
        unsigned pair;

        rc = put_region(j, m, n, set, &others, at, &pair);
        if (rc == 0 && pair)
            buf_printf(&all, all.len ? "| r%u " : "r%u ", pair - 1);
    }
    if (rc < 0 || all.len == 0)
        return rc;
    if (all.bad)
        return schema_no_memory(j);
    *rest = ++j->rules;
    buf_printf(j->out, "r%u ::= %s\n", *rest - 1, all.at);
    return 0;
}

/* --- an object --- */

/* 0 in *pair: it may not be. */
static int put_property(struct job *j, const char *name, const json_t *schema,
                        const struct path *at, unsigned *pair)
{
    const struct path here = {at, "properties", 0}, there = {&here, name, 0};
    CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    int rc;

    *pair = 0;
    put_key(&one, name);
    rc = schema_put_part(j, schema, &there, &one);
    if (rc < 0)
        return rc;
    if (one.bad)
        return schema_no_memory(j);
    *pair = ++j->rules;
    buf_printf(j->out, "r%u ::= %s\n", *pair - 1, one.at);
    return 0;
}

/* The properties that can be, in their order. */
static int put_properties(struct job *j, const struct members *m, const struct path *at,
                          struct link *links, size_t *count)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)m->properties, name, value)
    {
        bool is_required = schema_is_required(m, name);
        unsigned pair = 0;
        int rc = json_is_false(value) ? 0 : put_property(j, name, value, at, &pair);

        if (rc < 0 && (is_required || !j->is_nothing))
            return rc;
        if (pair)
            links[(*count)++] = (struct link){pair - 1, is_required};
    }
    return 0;
}

static int put_members(struct job *j, const json_t *schema, const struct members *m,
                       const struct naming *n, const struct path *at, struct buf *body)
{
    CLEANUP(free)
    struct link *links = mem_alloc((json_object_size(m->properties) + 1) * sizeof(*links));
    struct chain c = {.at = links, .most = UINT64_MAX};
    unsigned rest = 0;
    int rc =
        links ? schema_take_size(j, schema, at, "minProperties", &c.least) : schema_no_memory(j);

    if (rc >= 0)
        rc = schema_take_size(j, schema, at, "maxProperties", &c.most);
    if (rc >= 0)
        rc = put_rest(j, m, n, at, &rest);
    if (rc >= 0)
        rc = put_properties(j, m, at, links, &c.count);
    if (rc < 0)
        return rc;
    c.has_rest = rest != 0;
    c.rest = rest ? rest - 1 : 0;
    if (c.has_rest && c.least > c.count + 1 && c.least <= c.most)
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "minProperties",
                             "is supported up to the properties that are named and one more: "
                             "others could be the same one twice");
    buf_puts(body, "\"{\" ws ");
    rc = schema_put_chain(j, &c, at, body);
    buf_puts(body, "ws \"}\" ");
    return rc;
}

static bool is_plain(const json_t *schema, const struct members *m)
{
    static const char *const words[] = {"patternProperties", "propertyNames", "minProperties",
                                        "maxProperties"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (json_object_get(schema, words[i]))
            return false;
    return json_is_true(m->rest) && json_object_size(m->properties) == 0 &&
           json_array_size(m->required) == 0;
}

int schema_put_objects(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    const json_t *more = json_object_get(schema, "additionalProperties");
    CLEANUP(free) struct naming *n = mem_zalloc(1, sizeof(*n));
    struct members m;
    int rc = n ? take_members(j, schema, at, &m) : schema_no_memory(j);

    if (rc < 0)
        return rc;
    if (is_plain(schema, &m)) {
        buf_puts(body, "object ");
        return 0;
    }
    n->is_closed = json_is_false(more) ||
                   (!more && json_is_false(json_object_get(schema, "unevaluatedProperties")));
    rc = take_patterns(j, schema, at, n);
    if (rc == 0)
        rc = take_names(j, schema, at, n);
    if (rc == 0)
        rc = check_required(j, &m, n, at);
    if (rc == 0)
        rc = gather(j, &m, n, at);
    if (rc == 0)
        rc = put_members(j, schema, &m, n, at, body);
    naming_fini(n);
    return rc;
}
