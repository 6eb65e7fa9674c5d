/* SPDX-License-Identifier: Apache-2.0 */
/* schema.c - see schema.h */
#include "sched/schema.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "sched/regex.h"
#include "sched/schemajob.h"

#define PATH_SHOWN 12 /* parts of a path in an error */

/* Any JSON; blanks between its parts are few, so that no answer is made of them. */
static const char shared_rules[] =
    "ws ::= \" \"? | \"\\n\" [ \\t]{0,20}\n"
    "value ::= object | array | string | number | boolean | null\n"
    "object ::= \"{\" ws (pair (\",\" ws pair)* ws)? \"}\"\n"
    "pair ::= string \":\" ws value\n"
    "array ::= \"[\" ws (value (\",\" ws value)* ws)? \"]\"\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" ([0-9a-cA-Ce-fE-F] "
    "[0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}))\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "boolean ::= \"true\" | \"false\"\n"
    "null ::= \"null\"\n";
/* --- errors --- */

static void put_path(struct buf *b, const struct path *p)
{
    const struct path *parts[2 * SCHEMA_NESTED_MAX + 8];
    size_t n = 0;

    for (; p && n < sizeof(parts) / sizeof(parts[0]); p = p->up)
        parts[n++] = p;
    buf_putc(b, '#');
    for (unsigned shown = 0; n-- > 0; shown++) {
        if (shown == PATH_SHOWN) {
            buf_puts(b, "/...");
            return;
        }
        if (parts[n]->key)
            buf_printf(b, "/%.80s", parts[n]->key);
        else
            buf_printf(b, "/%zu", parts[n]->index);
    }
}

int schema_refuse(struct job *j, int code, const struct path *at, const char *keyword,
                  const char *why)
{
    CLEANUP(buf) struct buf path = {.at = NULL};
    bool is_root = !at;

    j->is_nothing = false;
    buf_init(&path, 4096);
    put_path(&path, at);
    if (keyword)
        return fail(j->err, code, "the schema's keyword '%.80s' at '%s' %s", keyword,
                    is_root   ? "#"
                    : path.at ? path.at
                              : "#",
                    why);
    return fail(j->err, code, "the schema at '%s' %s", path.at ? path.at : "#", why);
}

int schema_nothing(struct job *j, const struct path *at, const char *keyword, const char *why)
{
    int rc = schema_refuse(j, LLMOS_EINVAL, at, keyword, why);

    j->is_nothing = true;
    return rc;
}

bool schema_pay(struct job *j, uint64_t steps)
{
    j->work -= steps < j->work ? steps : j->work;
    return j->work > 0;
}

int schema_no_memory(struct job *j)
{
    j->is_nothing = false;
    return fail(j->err, LLMOS_ENOMEM, "no memory for the schema");
}

json_t *schema_keep(struct job *j, json_t *v)
{
    if (!v || json_array_append_new(j->made, v) < 0)
        return NULL;
    return v;
}

/* --- a schema --- */

/* Types of values that "not" lists. */
static unsigned listed_bits(const json_t *schema)
{
    const json_t *one, *v;
    unsigned bits = 0;
    size_t k;

    for (size_t i = 0; (one = schema_excluded(schema, i)); i++)
        json_array_foreach(json_object_get(one, "enum"), k, v) bits |= schema_value_bits(v);
    return bits;
}

/* true, false, null: those that "not" leaves. */
static int put_few(struct job *j, const json_t *schema, const char *type, const struct path *at,
                   struct buf *body)
{
    const json_t *without = json_object_get(schema, "not");
    json_t *few;

    if (!without) {
        buf_printf(body, "%s ", type);
        return 0;
    }
    few = schema_keep(j, json_pack("{s:s,s:O}", "type", type, "not", without));
    return few ? schema_put_listed(j, few, at, body) : schema_no_memory(j);
}

static int put_type(struct job *j, const json_t *schema, unsigned bit, const struct path *at,
                    struct buf *body)
{
    if (bit & (OBJECT | ARRAY) & listed_bits(schema))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "not",
                             "leaves out arrays or objects by their value, which is not supported");
    switch (bit) {
    case OBJECT:
        return schema_put_objects(j, schema, at, body);
    case ARRAY:
        return schema_put_arrays(j, schema, at, body);
    case STRING:
        return schema_put_strings(j, schema, at, body);
    case NUMBER:
    case INTEGER:
        return schema_put_numbers(j, schema, bit == INTEGER, at, body);
    default:
        return put_few(j, schema, bit == BOOLEAN ? "boolean" : "null", at, body);
    }
}

/* What a pattern or the like is said of is the only type for which it can fail. */
static unsigned without_excluded(const json_t *schema, unsigned bits)
{
    const json_t *one;

    for (size_t i = 0; (one = schema_excluded(schema, i)); i++) {
        if (json_object_get(one, "pattern"))
            bits &= STRING;
        else if (json_object_get(one, "multipleOf"))
            bits &= NUMBER | INTEGER;
        else if (json_object_get(one, "type"))
            bits &= ~(unsigned)INTEGER;
    }
    return bits;
}

static int put_each_type(struct job *j, const json_t *schema, unsigned bits, const struct path *at,
                         struct buf *body)
{
    bool any = false;
    int rc = 0;

    buf_puts(body, "( ");
    for (unsigned bit = 1; bit <= NIL; bit *= 2) {
        CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};

        if (!(bits & bit))
            continue;
        rc = put_type(j, schema, bit, at, &one);
        if (rc < 0 && j->is_nothing)
            continue;
        if (rc < 0)
            return rc;
        buf_puts(body, any ? "| " : "");
        buf_put(body, one.at, one.len);
        body->bad |= one.bad;
        any = true;
    }
    buf_puts(body, ") ");
    if (!any && bits == 0)
        return schema_nothing(j, at, "not", "leaves nothing of the types that there may be");
    return any ? 0 : rc;
}

static int put_types(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    const json_t *type = json_object_get(schema, "type");
    unsigned bits = type ? schema_type_bits(type) : schema_untyped_bits(schema);

    if (type && !bits)
        return schema_refuse(j, LLMOS_EINVAL, at, "type",
                             "is none of object, array, string, number, integer, boolean, null");
    if (json_object_get(schema, "enum") || json_object_get(schema, "const"))
        return schema_put_listed(j, schema, at, body);
    if (!bits && !schema_excluded(schema, 0)) {
        buf_puts(body, "value ");
        return 0;
    }
    bits = without_excluded(schema, bits ? bits : 2 * NIL - 1);
    if (bits & NUMBER)
        bits &= ~(unsigned)INTEGER; /* is one */
    return put_each_type(j, schema, bits, at, body);
}

static bool only_ref(const json_t *schema)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        if (strcmp(name, "$ref") != 0 && !schema_is_note(name))
            return false;
    }
    return json_object_get(schema, "$ref") != NULL;
}

static int put_parts(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    json_t *flat;
    int rc;

    if (only_ref(schema))
        return schema_put_ref(j, schema, at, body);
    if (json_object_get(schema, "$ref") || json_object_get(schema, "allOf") ||
        schema_has_conditions(schema)) {
        rc = schema_flatten(j, schema, at, &flat);
        return rc < 0 ? rc : schema_put_part(j, flat, at, body);
    }
    if (json_object_get(schema, "anyOf"))
        return schema_put_branches(j, schema, "anyOf", at, body);
    if (json_object_get(schema, "oneOf"))
        return schema_put_branches(j, schema, "oneOf", at, body);
    return put_types(j, schema, at, body);
}

/* Appends one element of a sequence, or several that are one text. */
int schema_put_part(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    unsigned rule;
    CLEANUP(buf) struct buf own = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    int rc;

    if (json_is_true(schema)) {
        buf_puts(body, "value ");
        return 0;
    }
    if (json_is_false(schema))
        return schema_nothing(j, at, NULL, "is false: nothing is valid for it");
    if (!json_is_object(schema))
        return schema_refuse(j, LLMOS_EINVAL, at, NULL, "is not an object");
    rc = schema_check_keywords(j, schema, at);
    if (rc < 0)
        return rc;
    if (++j->depth > SCHEMA_NESTED_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, NULL,
                             "refers to itself without end, or is nested too deep");
    if (j->out->len > SCHEMA_GRAMMAR_MAX / 2 && j->out->bad)
        return schema_refuse(j, LLMOS_ELIMIT, at, NULL, "makes a grammar of more than 1 MiB");
    rc = put_parts(j, schema, at, &own);
    j->depth--;
    if (rc < 0)
        return rc;
    rc = buf_check(&own, "the grammar of the schema", j->err);
    if (rc < 0)
        return rc;
    rule = j->rules++;
    buf_printf(j->out, "r%u ::= %s\n", rule, own.at);
    buf_printf(body, "r%u ", rule);
    return 0;
}

/* What was referred to, and what that refers to. */
static int put_targets(struct job *j)
{
    int rc = 0;

    for (; rc == 0 && j->refs_done < j->ref_count; j->refs_done++) {
        const struct path here = {NULL, "$ref", 0};
        CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
        struct ref r = j->refs[j->refs_done];

        rc = schema_put_part(j, r.target, &here, &one);
        if (rc == 0)
            rc = buf_check(&one, "the grammar of the schema", j->err);
        if (rc == 0)
            buf_printf(j->out, "r%u ::= %s\n", r.rule, one.at);
    }
    return rc;
}

int schema_put(struct buf *out, const json_t *schema, struct llmos_error *err)
{
    return schema_put_within(out, schema, schema, err);
}

int schema_put_within(struct buf *out, const json_t *schema, const json_t *root_schema,
                      struct llmos_error *err)
{
    CLEANUP(free) struct job *j = mem_zalloc(1, sizeof(*j));
    CLEANUP(buf) struct buf root = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    struct llmos_error own;
    int rc;

    if (!j)
        return fail(err, LLMOS_ENOMEM, "no memory for the schema");
    json_memory_watch();
    *j = (struct job){.out = out,
                      .root = root_schema,
                      .err = err ? err : &own,
                      .made = json_array(),
                      .work = AUTOMATON_WORK_MAX};
    rc = j->made ? schema_put_part(j, schema, NULL, &root) : schema_no_memory(j);
    if (rc == 0)
        rc = put_targets(j);
    if (json_memory_failed()) /* whatever was made of a schema that lacks something */
        rc = schema_no_memory(j);
    json_decref(j->made);
    if (rc < 0)
        return rc;
    buf_printf(out, "root ::= %s\n", root.at ? root.at : "");
    buf_puts(out, shared_rules);
    return buf_check(out, "the grammar of the schema", err);
}

int schema_put_object(struct buf *out, struct llmos_error *err)
{
    buf_puts(out, "root ::= object\n");
    buf_puts(out, shared_rules);
    return buf_check(out, "the grammar of JSON", err);
}

int schema_put_regex(struct buf *out, struct str regex, struct llmos_error *err)
{
    int rc;

    buf_puts(out, "root ::= ");
    rc = regex_put(out, regex, REGEX_WHOLE, err);
    buf_putc(out, '\n');
    return rc < 0 ? rc : buf_check(out, "the grammar of the regular expression", err);
}

int schema_put_choice(struct buf *out, const struct str *choices, size_t count,
                      struct llmos_error *err)
{
    if (count == 0)
        return fail(err, LLMOS_EINVAL, "there is no choice: the list is empty");
    buf_puts(out, "root ::= ");
    for (size_t i = 0; i < count; i++) {
        if (utf8_valid_bytes(choices[i]) < choices[i].len)
            return fail(err, LLMOS_EINVAL, "choice %zu is not UTF-8", i);
        buf_puts(out, i ? " | " : "");
        regex_put_literal(out, choices[i]);
    }
    buf_putc(out, '\n');
    return buf_check(out, "the grammar of the choices", err);
}
