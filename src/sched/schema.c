/* SPDX-License-Identifier: Apache-2.0 */
/* schema.c - see schema.h */
#include "sched/schema.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "base/near.h"
#include "base/utf8.h"
#include "sched/decimal.h"
#include "sched/regex.h"

#include <stdio.h>
#include <stdlib.h>

#define REFS_MAX     1024 /* of different places */
#define MERGES_MAX   4096
#define NESTED_MAX   64  /* schemas in schemas, references that are merged included */
#define BRANCHES_MAX 512 /* of one anyOf, all combinations counted */
#define LENGTH_MAX   65536
#define NAME_MAX     256
#define PATH_SHOWN   12 /* parts of a path in an error */

struct path {
    const struct path *up;
    const char *key; /* NULL: an index */
    size_t index;
};

struct ref {
    const json_t *target;
    unsigned rule;
};

struct job {
    struct buf *out;
    const json_t *root;
    json_t *made; /* an array that owns schemas that were merged */
    struct ref refs[REFS_MAX];
    size_t ref_count, refs_done;
    unsigned rules, merges, depth;
    struct llmos_error *err;
};

enum { OBJECT = 1, ARRAY = 2, STRING = 4, NUMBER = 8, INTEGER = 16, BOOLEAN = 32, NIL = 64 };

static const struct {
    const char *name;
    unsigned bit;
} types[] = {{"object", OBJECT},   {"array", ARRAY},     {"string", STRING}, {"number", NUMBER},
             {"integer", INTEGER}, {"boolean", BOOLEAN}, {"null", NIL}};

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
    const struct path *parts[2 * NESTED_MAX + 8];
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

static int refuse(struct job *j, int code, const struct path *at, const char *keyword,
                  const char *why)
{
    CLEANUP(buf) struct buf path = {.at = NULL};
    bool is_root = !at;

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

static int no_memory(struct job *j)
{
    return fail(j->err, LLMOS_ENOMEM, "no memory for the schema");
}

/* --- keywords --- */

enum keyword_kind { KEPT, NOTE, NOT_KEPT };

static const struct {
    const char *name;
    enum keyword_kind kind;
    unsigned of; /* what an untyped schema with it must be about */
} keywords[] = {
    {"type", KEPT, 0},
    {"enum", KEPT, 0},
    {"const", KEPT, 0},
    {"anyOf", KEPT, 0},
    {"oneOf", KEPT, 0},
    {"allOf", KEPT, 0},
    {"$ref", KEPT, 0},
    {"properties", KEPT, OBJECT},
    {"required", KEPT, OBJECT},
    {"additionalProperties", KEPT, OBJECT},
    {"items", KEPT, ARRAY},
    {"prefixItems", KEPT, ARRAY},
    {"minItems", KEPT, ARRAY},
    {"maxItems", KEPT, ARRAY},
    {"minLength", KEPT, STRING},
    {"maxLength", KEPT, STRING},
    {"pattern", KEPT, STRING},
    {"format", KEPT, STRING},
    {"minimum", KEPT, NUMBER},
    {"maximum", KEPT, NUMBER},
    {"exclusiveMinimum", KEPT, NUMBER},
    {"exclusiveMaximum", KEPT, NUMBER},
    {"$defs", NOTE, 0},
    {"definitions", NOTE, 0},
    {"$schema", NOTE, 0},
    {"$id", NOTE, 0},
    {"$comment", NOTE, 0},
    {"title", NOTE, 0},
    {"description", NOTE, 0},
    {"default", NOTE, 0},
    {"example", NOTE, 0},
    {"examples", NOTE, 0},
    {"deprecated", NOTE, 0},
    {"readOnly", NOTE, 0},
    {"writeOnly", NOTE, 0},
    {"discriminator", NOTE, 0},
    {"contentMediaType", NOTE, 0},
    {"contentEncoding", NOTE, 0},
    {"not", NOT_KEPT, 0},
    {"if", NOT_KEPT, 0},
    {"then", NOT_KEPT, 0},
    {"else", NOT_KEPT, 0},
    {"contains", NOT_KEPT, 0},
    {"minContains", NOT_KEPT, 0},
    {"maxContains", NOT_KEPT, 0},
    {"uniqueItems", NOT_KEPT, 0},
    {"unevaluatedItems", NOT_KEPT, 0},
    {"unevaluatedProperties", NOT_KEPT, 0},
    {"additionalItems", NOT_KEPT, 0},
    {"patternProperties", NOT_KEPT, 0},
    {"propertyNames", NOT_KEPT, 0},
    {"minProperties", NOT_KEPT, 0},
    {"maxProperties", NOT_KEPT, 0},
    {"dependentRequired", NOT_KEPT, 0},
    {"dependentSchemas", NOT_KEPT, 0},
    {"dependencies", NOT_KEPT, 0},
    {"multipleOf", NOT_KEPT, 0},
    {"nullable", NOT_KEPT, 0},
    {"$anchor", NOT_KEPT, 0},
    {"$dynamicRef", NOT_KEPT, 0},
    {"$dynamicAnchor", NOT_KEPT, 0},
};
#define KEYWORDS (sizeof(keywords) / sizeof(keywords[0]))

static size_t keyword_at(const char *name)
{
    size_t i = 0;

    while (i < KEYWORDS && strcmp(keywords[i].name, name) != 0)
        i++;
    return i;
}

static bool is_note(const char *name)
{
    size_t i = keyword_at(name);

    return strncmp(name, "x-", 2) == 0 || (i < KEYWORDS && keywords[i].kind == NOTE);
}

/* With these values a keyword that is not kept says nothing. */
static bool says_nothing(const char *name, const json_t *v)
{
    static const char *const off[] = {"uniqueItems", "nullable"};
    static const char *const all[] = {"unevaluatedItems", "unevaluatedProperties",
                                      "additionalItems", "propertyNames"};

    for (size_t i = 0; i < 2; i++)
        if (strcmp(name, off[i]) == 0)
            return json_is_false(v);
    /* What is not named does not come anyway. */
    for (size_t i = 0; i < 4; i++)
        if (strcmp(name, all[i]) == 0)
            return json_is_true(v) || (i < 3 && json_is_false(v));
    if (strcmp(name, "minProperties") == 0)
        return json_is_integer(v) && json_integer_value(v) <= 0;
    if (strcmp(name, "multipleOf") == 0)
        return false;
    return strcmp(name, "patternProperties") == 0 && json_is_object(v) && json_object_size(v) == 0;
}

static int unknown_keyword(struct job *j, const struct path *at, const char *name)
{
    struct near near = {.word = name};
    char why[160];

    for (size_t i = 0; i < KEYWORDS; i++)
        near_offer(&near, keywords[i].name);
    snprintf(why, sizeof(why), near.best ? "is not known; did you mean '%.60s'?" : "is not known",
             near.best);
    return refuse(j, LLMOS_EUNSUPPORTED, at, name, why);
}

static int check_keywords(struct job *j, const json_t *schema, const struct path *at)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        size_t i = keyword_at(name);

        if (is_note(name) || (i < KEYWORDS && keywords[i].kind == KEPT))
            continue;
        if (i == KEYWORDS)
            return unknown_keyword(j, at, name);
        if (!says_nothing(name, value))
            return refuse(j, LLMOS_EUNSUPPORTED, at, name, "is not supported");
    }
    return 0;
}

static int take_size(struct job *j, const json_t *schema, const struct path *at, const char *name,
                     uint64_t *out)
{
    const json_t *v = json_object_get(schema, name);
    double number = json_number_value(v);

    if (!v)
        return 0;
    if (!json_is_number(v) || number < 0 || number != (double)(uint64_t)number)
        return refuse(j, LLMOS_EINVAL, at, name, "is not a number of things");
    if (number > LENGTH_MAX)
        return refuse(j, LLMOS_ELIMIT, at, name,
                      "is above 65536, which is the most that is counted");
    *out = (uint64_t)number;
    return 1;
}

/* --- references --- */

/* The next part of a JSON pointer (RFC 6901), with its escapes undone. */
static bool next_part(const char **at, char *part)
{
    size_t n = 0;
    const char *c = *at + 1; /* behind the slash */

    for (; *c && *c != '/'; c++) {
        unsigned byte = (unsigned char)*c, hex;

        if (*c == '~' && (c[1] == '0' || c[1] == '1')) {
            byte = *++c == '0' ? '~' : '/';
        } else if (*c == '%' && sscanf(c + 1, "%2x", &hex) == 1 && c[1] && c[2]) {
            byte = hex;
            c += 2;
        }
        if (n + 1 >= NAME_MAX || byte == 0)
            return false;
        part[n++] = (char)byte;
    }
    part[n] = '\0';
    *at = c;
    return true;
}

static int find_target(struct job *j, const json_t *schema, const struct path *at,
                       const json_t **target)
{
    const json_t *ref = json_object_get(schema, "$ref"), *v = j->root;
    const char *c = json_string_value(ref);
    char part[NAME_MAX];

    if (!c)
        return refuse(j, LLMOS_EINVAL, at, "$ref", "is not a string");
    if (*c != '#' || (c[1] && c[1] != '/'))
        return refuse(j, LLMOS_EUNSUPPORTED, at, "$ref",
                      "leads out of the schema; only '#/...' is followed");
    for (c++; *c && v;) {
        if (!next_part(&c, part))
            return refuse(j, LLMOS_EINVAL, at, "$ref", "has a part that is too long");
        v = json_is_array(v) ? json_array_get(v, (size_t)strtoul(part, NULL, 10))
                             : json_object_get(v, part);
    }
    if (!v)
        return refuse(j, LLMOS_EINVAL, at, "$ref", "leads to nothing");
    *target = v;
    return 0;
}

/* The rule of what is referred to; it is written later. */
static int put_ref(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    const json_t *target = NULL;
    size_t i = 0;
    int rc = find_target(j, schema, at, &target);

    if (rc < 0)
        return rc;
    while (i < j->ref_count && j->refs[i].target != target)
        i++;
    if (i == REFS_MAX)
        return refuse(j, LLMOS_ELIMIT, at, "$ref", "is one too many: 1024 places are followed");
    if (i == j->ref_count)
        j->refs[j->ref_count++] = (struct ref){target, j->rules++};
    buf_printf(body, "r%u ", j->refs[i].rule);
    return 0;
}

/* --- several schemas in one --- */

static json_t *keep(struct job *j, json_t *v)
{
    if (!v || json_array_append_new(j->made, v) < 0)
        return NULL;
    return v;
}

static unsigned type_bits(const json_t *type)
{
    unsigned bits = 0;

    if (json_is_array(type)) {
        size_t i;
        const json_t *one;

        json_array_foreach(type, i, one)
        {
            unsigned bit = json_is_string(one) ? type_bits(one) : 0;

            if (!bit)
                return 0;
            bits |= bit;
        }
        return bits;
    }
    for (size_t i = 0; json_is_string(type) && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, json_string_value(type)) == 0)
            bits = types[i].bit;
    return bits;
}

static json_t *types_of_bits(unsigned bits)
{
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (bits & types[i].bit)
            json_array_append_new(list, json_string(types[i].name));
    return list;
}

static json_t *both_types(const json_t *a, const json_t *b)
{
    unsigned x = type_bits(a), y = type_bits(b), both = x & y;

    if ((x & NUMBER && y & INTEGER) || (y & NUMBER && x & INTEGER))
        both |= INTEGER;
    return both ? types_of_bits(both) : NULL;
}

static json_t *union_of(const json_t *a, const json_t *b)
{
    json_t *all = json_copy((json_t *)(uintptr_t)a), *one, *other;
    size_t i, k;

    json_array_foreach(b, i, one)
    {
        bool is_new = true;

        json_array_foreach(all, k, other) is_new &= !json_equal(one, other);
        if (is_new)
            json_array_append(all, one);
    }
    return all;
}

static json_t *common_of(const json_t *a, const json_t *b)
{
    json_t *all = json_array(), *one, *other;
    size_t i, k;

    json_array_foreach(a, i, one)
    {
        bool is_common = false;

        json_array_foreach(b, k, other) is_common |= json_equal(one, other);
        if (is_common)
            json_array_append(all, one);
    }
    return all;
}

static json_t *all_of(const json_t *a, const json_t *b)
{
    return json_pack("{s:[O,O]}", "allOf", a, b);
}

static json_t *all_properties(const json_t *a, const json_t *b)
{
    json_t *all = json_copy((json_t *)(uintptr_t)a), *value;
    const char *name;

    json_object_foreach((json_t *)(uintptr_t)b, name, value)
    {
        const json_t *old = json_object_get(a, name);

        if (old && !json_equal(old, value))
            json_object_set_new(all, name, all_of(old, value));
        else
            json_object_set(all, name, value);
    }
    return all;
}

/* Each branch of one with each of the other. */
static json_t *all_branches(const json_t *a, const json_t *b)
{
    json_t *all, *one, *other;
    size_t i, k;

    if (json_array_size(a) * json_array_size(b) > BRANCHES_MAX)
        return NULL;
    all = json_array();
    json_array_foreach(a, i, one)
    {
        json_array_foreach(b, k, other) json_array_append_new(all, all_of(one, other));
    }
    return all;
}

/* One value of a keyword for two; NULL: there is none that we know. */
static json_t *merged_value(const char *name, const json_t *a, const json_t *b)
{
    static const char *const larger[] = {"minimum", "exclusiveMinimum", "minItems", "minLength"};
    static const char *const smaller[] = {"maximum", "exclusiveMaximum", "maxItems", "maxLength"};

    if (json_equal(a, b) || is_note(name))
        return json_incref((json_t *)(uintptr_t)a);
    for (size_t i = 0; i < 4 && json_is_number(a) && json_is_number(b); i++) {
        bool a_less = json_number_value(a) < json_number_value(b);

        if (strcmp(name, larger[i]) == 0)
            return json_incref((json_t *)(uintptr_t)(a_less ? b : a));
        if (strcmp(name, smaller[i]) == 0)
            return json_incref((json_t *)(uintptr_t)(a_less ? a : b));
    }
    if (strcmp(name, "type") == 0)
        return both_types(a, b);
    if (strcmp(name, "properties") == 0 && json_is_object(a) && json_is_object(b))
        return all_properties(a, b);
    if (strcmp(name, "required") == 0 && json_is_array(a) && json_is_array(b))
        return union_of(a, b);
    if (strcmp(name, "enum") == 0 && json_is_array(a) && json_is_array(b))
        return common_of(a, b);
    if (strcmp(name, "anyOf") == 0 && json_is_array(a) && json_is_array(b))
        return all_branches(a, b);
    if (strcmp(name, "items") == 0 || strcmp(name, "additionalProperties") == 0)
        return json_is_false(a) || json_is_false(b) ? json_false()
               : json_is_true(a)                    ? json_incref((json_t *)(uintptr_t)b)
               : json_is_true(b)                    ? json_incref((json_t *)(uintptr_t)a)
                                                    : all_of(a, b);
    return NULL;
}

/* Does one forbid what only the other names?  Then the union of names would be too much. */
static bool forbids_names(const json_t *a, const json_t *b)
{
    const json_t *own = json_object_get(a, "properties");
    const char *name;
    json_t *value;

    if (!json_is_false(json_object_get(a, "additionalProperties")))
        return false;
    json_object_foreach(json_object_get(b, "properties"), name, value)
    {
        if (!json_object_get(own, name))
            return true;
    }
    return false;
}

static int merge(struct job *j, json_t *into, const json_t *other, const struct path *at)
{
    const char *name;
    json_t *value;

    if (++j->merges > MERGES_MAX)
        return refuse(j, LLMOS_ELIMIT, at, NULL, "has too many parts to be merged");
    if (forbids_names(into, other) || forbids_names(other, into))
        return refuse(j, LLMOS_EUNSUPPORTED, at, "additionalProperties",
                      "forbids properties that another part of allOf names");
    json_object_foreach((json_t *)(uintptr_t)other, name, value)
    {
        const json_t *old = json_object_get(into, name);
        json_t *both;

        if (!old) {
            if (json_object_set(into, name, value) < 0)
                return no_memory(j);
            continue;
        }
        both = merged_value(name, old, value);
        if (!both)
            return refuse(j, LLMOS_EUNSUPPORTED, at, name,
                          "is said twice (allOf, $ref or anyOf beside it), which cannot be joined");
        if (json_object_set_new(into, name, both) < 0)
            return no_memory(j);
    }
    return 0;
}

/* The schema without $ref and allOf, which are merged into it. */
static int flatten(struct job *j, const json_t *schema, const struct path *at, json_t **flat)
{
    const json_t *all = json_object_get(schema, "allOf"), *part, *target = NULL;
    json_t *made = keep(j, json_copy((json_t *)(uintptr_t)schema)), *piece = NULL;
    size_t i;
    int rc = 0;

    if (!made)
        return no_memory(j);
    if (++j->depth > NESTED_MAX)
        return refuse(j, LLMOS_ELIMIT, at, NULL,
                      "refers to itself without end, or is nested too deep");
    json_object_del(made, "allOf");
    json_object_del(made, "$ref");
    if (json_object_get(schema, "$ref")) {
        rc = find_target(j, schema, at, &target);
        if (rc == 0 && !json_is_object(target))
            rc = refuse(j, LLMOS_EUNSUPPORTED, at, "$ref", "leads to something that is no object");
        if (rc == 0)
            rc = flatten(j, target, at, &piece);
        if (rc == 0)
            rc = merge(j, made, piece, at);
    }
    if (rc == 0 && all && !json_is_array(all))
        rc = refuse(j, LLMOS_EINVAL, at, "allOf", "is not an array");
    json_array_foreach(all, i, part)
    {
        const struct path here = {at, "allOf", 0}, there = {&here, NULL, i};

        if (rc == 0 && json_is_true(part))
            continue;
        if (rc == 0 && !json_is_object(part))
            rc = refuse(j, LLMOS_EINVAL, &there, NULL,
                        "is not a schema that something is valid for");
        if (rc == 0)
            rc = check_keywords(j, part, &there);
        if (rc == 0)
            rc = flatten(j, part, &there, &piece);
        if (rc == 0)
            rc = merge(j, made, piece, &there);
    }
    j->depth--;
    *flat = made;
    return rc;
}

/* --- values --- */

static int put_schema(struct job *j, const json_t *schema, const struct path *at, struct buf *body);

/* The shortest digits that are this number again. */
static void put_real(struct buf *text, double v)
{
    char digits[40];

    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, v);
        if (strtod(digits, NULL) == v)
            break;
    }
    buf_puts(text, digits);
}

static void put_value(struct buf *text, const json_t *v)
{
    const char *name;
    json_t *part;
    size_t i;

    switch (json_typeof(v)) {
    case JSON_STRING:
        json_put_string(text, (struct str){json_string_value(v), json_string_length(v)});
        break;
    case JSON_INTEGER:
        buf_printf(text, "%lld", (long long)json_integer_value(v));
        break;
    case JSON_REAL:
        put_real(text, json_real_value(v));
        break;
    case JSON_ARRAY:
        json_array_foreach(v, i, part)
        {
            buf_puts(text, i ? ", " : "[");
            put_value(text, part);
        }
        buf_puts(text, json_array_size(v) ? "]" : "[]");
        break;
    case JSON_OBJECT:
        i = 0;
        json_object_foreach((json_t *)(uintptr_t)v, name, part)
        {
            buf_puts(text, i++ ? ", " : "{");
            json_put_string(text, str_of(name));
            buf_puts(text, ": ");
            put_value(text, part);
        }
        buf_puts(text, i ? "}" : "{}");
        break;
    default:
        buf_puts(text, json_is_null(v) ? "null" : json_is_true(v) ? "true" : "false");
    }
}

static unsigned bits_of_value(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return OBJECT;
    case JSON_ARRAY:
        return ARRAY;
    case JSON_STRING:
        return STRING;
    case JSON_INTEGER:
        return NUMBER | INTEGER;
    case JSON_REAL:
        return json_real_value(v) == (double)(long long)json_real_value(v) ? NUMBER | INTEGER
                                                                           : NUMBER;
    case JSON_NULL:
        return NIL;
    default:
        return BOOLEAN;
    }
}

static bool put_one_value(const json_t *v, unsigned bits, bool is_first, struct buf *body)
{
    CLEANUP(buf) struct buf text = {.at = NULL};

    if (!(bits_of_value(v) & bits))
        return false;
    buf_init(&text, SCHEMA_GRAMMAR_MAX);
    put_value(&text, v);
    buf_puts(body, is_first ? "" : "| ");
    regex_put_literal(body, buf_str(&text));
    buf_putc(body, ' ');
    body->bad |= text.bad;
    return true;
}

/* enum and const, as far as the type lets them. */
static int put_values(struct job *j, const json_t *schema, unsigned bits, const struct path *at,
                      struct buf *body)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    const json_t *v;
    bool any = false;
    size_t i;

    if (list && !json_is_array(list))
        return refuse(j, LLMOS_EINVAL, at, "enum", "is not an array");
    buf_puts(body, "( ");
    if (list) {
        json_array_foreach(list, i, v)
        {
            if (!one || json_equal(one, v))
                any |= put_one_value(v, bits, !any, body);
        }
    } else {
        any = put_one_value(one, bits, true, body);
    }
    buf_puts(body, ") ");
    return any ? 0
               : refuse(j, LLMOS_EINVAL, at, list ? "enum" : "const",
                        "leaves no value that the rest of the schema allows");
}

/* --- strings and numbers --- */

#define YEAR "(000[1-9]|00[1-9]\\d|0[1-9]\\d{2}|[1-9]\\d{3})"
#define DATE                                                                                       \
    "(" YEAR                                                                                       \
    "-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]"         \
    "|1\\d|2[0-8]))|(\\d{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-" \
    "29)"
#define CLOCK "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define SPAN  "(\\d{1,6}H(\\d{1,6}M(\\d{1,6}S)?)?|\\d{1,6}M(\\d{1,6}S)?|\\d{1,6}S)"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
#define HOST  LABEL "(\\." LABEL "){0,6}"
#define BYTE  "(25[0-5]|2[0-4]\\d|1\\d{2}|[1-9]?\\d)"
#define GROUP "[0-9a-fA-F]{1,4}"

static const struct {
    const char *name, *regex;
} formats[] = {
    {"date", DATE},
    {"time", CLOCK},
    {"date-time", DATE "T" CLOCK},
    {"duration", "P((\\d{1,6}D|\\d{1,6}M(\\d{1,6}D)?|\\d{1,6}Y(\\d{1,6}M(\\d{1,6}D)?)?)(T" SPAN
                 ")?|T" SPAN "|\\d{1,6}W)"},
    {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    {"email", "[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,20}){0,3}@" HOST},
    {"hostname", HOST},
    {"ipv4", BYTE "(\\." BYTE "){3}"},
    {"ipv6", GROUP "(:" GROUP "){7}|(" GROUP "(:" GROUP "){0,2})?::(" GROUP "(:" GROUP "){0,3})?"},
    {"uri", "[a-z][a-z0-9+.-]{0,30}://" HOST "(:[1-9]\\d{0,3})?(/[A-Za-z0-9._~-]{0,60}){0,20}"
            "(\\?[A-Za-z0-9._~=&-]{0,200})?(#[A-Za-z0-9._~-]{0,60})?"},
};

static int put_format(struct job *j, const json_t *format, const struct path *at, struct buf *body)
{
    for (size_t i = 0; json_is_string(format) && i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(formats[i].name, json_string_value(format)) == 0) {
            buf_puts(body, "\"\\\"\" ");
            regex_put(body, str_of(formats[i].regex), REGEX_JSON_WHOLE, NULL);
            buf_puts(body, " \"\\\"\" ");
            return 0;
        }
    return refuse(j, LLMOS_EUNSUPPORTED, at, "format",
                  "is none of date, time, date-time, duration, uuid, email, hostname, ipv4, ipv6, "
                  "uri");
}

static int put_pattern(struct job *j, const json_t *pattern, const struct path *at,
                       struct buf *body)
{
    struct str text = {json_string_value(pattern), json_string_length(pattern)};
    struct llmos_error why = {0};
    int rc;

    if (!json_is_string(pattern))
        return refuse(j, LLMOS_EINVAL, at, "pattern", "is not a string");
    buf_puts(body, "\"\\\"\" ");
    rc = regex_put(body, text, REGEX_JSON_PART, &why);
    if (rc < 0)
        return refuse(j, rc, at, "pattern", why.text);
    buf_puts(body, " \"\\\"\" ");
    return 0;
}

static int put_string(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    const json_t *pattern = json_object_get(schema, "pattern");
    const json_t *format = json_object_get(schema, "format");
    uint64_t least = 0, most = UINT64_MAX;
    int low = take_size(j, schema, at, "minLength", &least);
    int high = low < 0 ? low : take_size(j, schema, at, "maxLength", &most);

    if (high < 0)
        return high;
    if (!!pattern + !!format + (least > 0 || high > 0) > 1)
        return refuse(j, LLMOS_EUNSUPPORTED, at, pattern ? "pattern" : "format",
                      "together with another limit of a string is not supported");
    if (pattern)
        return put_pattern(j, pattern, at, body);
    if (format)
        return put_format(j, format, at, body);
    if (most < least)
        return refuse(j, LLMOS_EINVAL, at, "maxLength", "is less than minLength");
    if (low == 0 && high == 0)
        buf_puts(body, "string ");
    else if (high == 0)
        buf_printf(body, "\"\\\"\" char{%llu,} \"\\\"\" ", (unsigned long long)least);
    else
        buf_printf(body, "\"\\\"\" char{%llu,%llu} \"\\\"\" ", (unsigned long long)least,
                   (unsigned long long)most);
    return 0;
}

static int take_bound(struct job *j, const json_t *schema, const struct path *at, const char *name,
                      struct decimal_bound *bound, bool exclusive, int sign)
{
    const json_t *v = json_object_get(schema, name);
    double number = json_number_value(v);

    if (!v)
        return 0;
    if (!json_is_number(v))
        return refuse(j, LLMOS_EUNSUPPORTED, at, name, "is not a number");
    if (number < -DECIMAL_MAX || number > DECIMAL_MAX)
        return refuse(j, LLMOS_ELIMIT, at, name,
                      "is beyond 10^15, which is the most that is counted");
    if (bound->is_set && sign * number < sign * bound->value)
        return 0;
    if (bound->is_set && number == bound->value)
        exclusive |= bound->is_exclusive;
    *bound = (struct decimal_bound){true, exclusive, number};
    return 0;
}

static int put_number(struct job *j, const json_t *schema, bool is_integer, const struct path *at,
                      struct buf *body)
{
    struct decimal_bound low = {false}, high = {false};

    if (take_bound(j, schema, at, "minimum", &low, false, 1) < 0 ||
        take_bound(j, schema, at, "exclusiveMinimum", &low, true, 1) < 0 ||
        take_bound(j, schema, at, "maximum", &high, false, -1) < 0 ||
        take_bound(j, schema, at, "exclusiveMaximum", &high, true, -1) < 0)
        return LLMOS_EUNSUPPORTED;
    if (!low.is_set && !high.is_set) {
        buf_puts(body, is_integer ? "integer " : "number ");
        return 0;
    }
    if (!is_integer && !(decimal_is_whole(low) && decimal_is_whole(high)))
        return refuse(j, LLMOS_EUNSUPPORTED, at, low.is_set ? "minimum" : "maximum",
                      "of a number is supported where it is a whole one");
    if (!decimal_put(body, low, high, is_integer))
        return refuse(j, LLMOS_EINVAL, at, low.is_set ? "minimum" : "maximum",
                      "leaves no number that is possible");
    return 0;
}

/* --- arrays --- */

struct items {
    const json_t *first, *rest; /* of the first places, of all behind them; NULL: none */
    uint64_t least, most;
};

static int take_items(struct job *j, const json_t *schema, const struct path *at, struct items *t)
{
    const json_t *items = json_object_get(schema, "items");
    size_t count;
    int low, high;

    *t = (struct items){.first = json_object_get(schema, "prefixItems"), .most = UINT64_MAX};
    if (t->first && !json_is_array(t->first))
        return refuse(j, LLMOS_EINVAL, at, "prefixItems", "is not an array");
    if (json_is_array(items) && !t->first)
        t->first = items; /* as it was written before 2020 */
    else if (items && !json_is_false(items))
        t->rest = items;
    else if (!items && !t->first)
        t->rest = json_true();
    count = json_array_size(t->first);
    low = take_size(j, schema, at, "minItems", &t->least);
    high = low < 0 ? low : take_size(j, schema, at, "maxItems", &t->most);
    if (high < 0)
        return high;
    if (!t->rest && !items && t->least > count)
        t->rest = json_true();
    if (!t->rest && t->most > count)
        t->most = count;
    if (low == 0)
        t->least = count < t->most ? count : t->most;
    if (t->least > t->most)
        return refuse(j, LLMOS_EINVAL, at, "minItems", "is more than the items that there may be");
    return 0;
}

static void put_counts(struct buf *body, uint64_t least, uint64_t most)
{
    if (most == UINT64_MAX)
        buf_printf(body, "{%llu,} ", (unsigned long long)least);
    else
        buf_printf(body, "{%llu,%llu} ", (unsigned long long)least, (unsigned long long)most);
}

/* The items from place i on, each with what must stand before it. */
static int put_items_from(struct job *j, const struct items *t, size_t i, const struct path *at,
                          struct buf *body)
{
    const json_t *item;
    unsigned open = 0;
    int rc = 0;

    for (; rc == 0 && i < t->most && (item = json_array_get(t->first, i)); i++) {
        const struct path here = {at, "prefixItems", 0}, there = {&here, NULL, i};

        if (i >= t->least) {
            buf_puts(body, "( ");
            open++;
        }
        if (open > NESTED_MAX)
            return refuse(j, LLMOS_ELIMIT, at, "prefixItems", "has too many that may be missing");
        buf_puts(body, i ? "\",\" ws " : "");
        rc = put_schema(j, item, &there, body);
    }
    if (rc == 0 && t->rest && i < t->most) {
        const struct path here = {at, "items", 0};
        uint64_t least = t->least > i ? t->least - i : 0;
        uint64_t most = t->most == UINT64_MAX ? t->most : t->most - i;
        unsigned rule = j->rules++;
        CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};

        rc = put_schema(j, t->rest, &here, &one);
        if (rc < 0)
            return rc;
        if (one.bad)
            return no_memory(j);
        buf_printf(j->out, "r%u ::= %s\n", rule, one.at);
        if (i == 0) {
            buf_printf(body, least ? "r%u " : "( r%u ", rule);
            buf_printf(body, "(\",\" ws r%u)", rule);
            put_counts(body, least ? least - 1 : 0, most == UINT64_MAX ? most : most - 1);
            buf_puts(body, least ? "" : ")? ");
        } else {
            buf_printf(body, "(\",\" ws r%u)", rule);
            put_counts(body, least, most);
        }
    }
    while (open-- > 0)
        buf_puts(body, ")? ");
    return rc;
}

static int put_array(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    struct items t;
    int rc = take_items(j, schema, at, &t);

    if (rc < 0)
        return rc;
    if (json_is_true(t.rest) && !t.first && t.least == 0 && t.most == UINT64_MAX) {
        buf_puts(body, "array ");
        return 0;
    }
    buf_puts(body, "\"[\" ws ");
    rc = put_items_from(j, &t, 0, at, body);
    buf_puts(body, "ws \"]\" ");
    return rc;
}

/* --- objects --- */

struct members {
    const json_t *properties, *required; /* NULL: none */
    const json_t *rest; /* of properties that are not named; NULL: there are none */
};

static bool is_required(const struct members *m, const char *name)
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
            return refuse(j, LLMOS_EINVAL, at, "required", "has something that is no name");
        if (json_object_get(all ? all : m->properties, name))
            continue;
        if (!m->rest && json_object_get(m->properties, name) == NULL && m->properties &&
            json_object_size(m->properties) == 0)
            return refuse(j, LLMOS_EINVAL, at, "required", "names a property that is forbidden");
        if (!all)
            all = keep(j, m->properties ? json_copy((json_t *)(uintptr_t)m->properties)
                                        : json_object());
        if (!all ||
            json_object_set(all, name, (json_t *)(uintptr_t)(m->rest ? m->rest : json_true())) < 0)
            return no_memory(j);
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
        return refuse(j, LLMOS_EINVAL, at, "properties", "is not an object");
    if (m->required && !json_is_array(m->required))
        return refuse(j, LLMOS_EINVAL, at, "required", "is not an array");
    if (more && !json_is_boolean(more) && !json_is_object(more))
        return refuse(j, LLMOS_EINVAL, at, "additionalProperties", "is not a schema");
    if (more && !json_is_false(more))
        m->rest = more;
    else if (!more && !m->properties)
        m->rest = json_true();
    if (json_is_false(more) && m->required) {
        size_t i;

        json_array_foreach(m->required, i, value)
        {
            if (json_is_string(value) && !json_object_get(m->properties, json_string_value(value)))
                return refuse(j, LLMOS_EINVAL, at, "required",
                              "names a property that additionalProperties forbids");
        }
    }
    if (add_required(j, m, at) < 0)
        return LLMOS_EINVAL;
    json_object_foreach((json_t *)(uintptr_t)m->properties, name, value)
    {
        if (json_is_false(value) && is_required(m, name))
            return refuse(j, LLMOS_EINVAL, at, "required", "names a property that cannot be");
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
        return no_memory(j);
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
        return no_memory(j);
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
    rc = put_schema(j, m->rest, &here, &one);
    if (rc < 0)
        return rc;
    if (one.bad)
        return no_memory(j);
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
    rc = put_schema(j, schema, &there, &one);
    if (rc < 0)
        return rc;
    if (one.bad)
        return no_memory(j);
    buf_printf(j->out, "r%u ::= %s\n", pair, one.at);
    return 0;
}

/* Rules of n properties: pair i is base + 2i, what stands behind i of them base + 2i + 1 - 2. */
static int put_object(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
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
                   is_required(&m, name) ? "r%u ::= \",\" ws r%u r%u\n"
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
        may_be_empty = !is_required(&m, name);
        i++;
    }
    if (m.rest && may_be_empty)
        buf_printf(body, "%sr%u r%u ", i ? "| " : "", pair, base + 2 * n);
    buf_puts(body, may_be_empty ? ")? ws \"}\" " : ") ws \"}\" ");
    return 0;
}

/* --- branches --- */

static unsigned possible_bits(struct job *j, const json_t *schema, unsigned depth);

static const json_t *resolved(struct job *j, const json_t *schema, unsigned depth)
{
    while (depth-- > 0 && json_object_get(schema, "$ref"))
        if (find_target(j, schema, NULL, &schema) < 0)
            return NULL;
    return schema;
}

/* The types that texts of the schema may have; all if it is not plain. */
static unsigned possible_bits(struct job *j, const json_t *schema, unsigned depth)
{
    const json_t *s = resolved(j, schema, 8), *list = json_object_get(s, "enum"), *one;
    unsigned bits = 0;
    size_t i;

    if (json_object_get(s, "const"))
        return bits_of_value(json_object_get(s, "const"));
    json_array_foreach(list, i, one) bits |= bits_of_value(one);
    if (bits)
        return bits;
    bits = type_bits(json_object_get(s, "type"));
    if (!bits && depth > 0) {
        const json_t *any = json_object_get(s, "anyOf");

        json_array_foreach(any, i, one) bits |= possible_bits(j, one, depth - 1);
        if (json_object_get(s, "properties") && !any)
            bits = OBJECT; /* as it is written here */
    }
    bits |= bits & NUMBER ? INTEGER : 0;
    return bits ? bits : ~0u;
}

/* The values that a schema lists; NULL: it lists none.  New. */
static json_t *listed_values(const json_t *s)
{
    const json_t *one = json_object_get(s, "const");
    json_t *list = json_object_get(s, "enum");

    if (one)
        return json_pack("[O]", one);
    return json_is_array(list) ? json_incref(list) : NULL;
}

static bool lists_are_apart(const json_t *a, const json_t *b)
{
    json_t *x = listed_values(a), *y = listed_values(b), *both = NULL;
    bool apart = false;

    if (x && y) {
        both = common_of(x, y);
        apart = json_array_size(both) == 0;
    }
    json_decref(x);
    json_decref(y);
    json_decref(both);
    return apart;
}

/* Are no texts that are written for object a valid for object b? */
static bool object_excludes(struct job *j, const json_t *a, const json_t *b)
{
    const json_t *own = json_object_get(a, "properties"), *other = json_object_get(b, "properties");
    const json_t *more = json_object_get(a, "additionalProperties");
    struct members ma = {own, json_object_get(a, "required"), NULL};
    struct members mb = {other, json_object_get(b, "required"), NULL};
    bool b_is_closed = json_is_false(json_object_get(b, "additionalProperties"));
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)other, name, value)
    {
        const json_t *mine = json_object_get(own, name);

        if (!is_required(&mb, name))
            continue;
        if (!mine && own && (!more || json_is_false(more)) && !is_required(&ma, name))
            return true;
        if (mine && is_required(&ma, name) &&
            lists_are_apart(resolved(j, mine, 8), resolved(j, value, 8)))
            return true;
    }
    json_object_foreach((json_t *)(uintptr_t)own, name, value)
    {
        if (b_is_closed && is_required(&ma, name) && !json_object_get(other, name))
            return true;
    }
    return false;
}

static bool are_apart(struct job *j, const json_t *a, const json_t *b)
{
    unsigned x = possible_bits(j, a, 4), y = possible_bits(j, b, 4);

    a = resolved(j, a, 8);
    b = resolved(j, b, 8);
    if (!(x & y) || lists_are_apart(a, b))
        return true;
    return x == OBJECT && y == OBJECT && object_excludes(j, a, b) && object_excludes(j, b, a);
}

static int check_one_of(struct job *j, const json_t *branches, const struct path *at)
{
    size_t n = json_array_size(branches);

    if (n > BRANCHES_MAX)
        return refuse(j, LLMOS_ELIMIT, at, "oneOf", "has more than 512 branches");
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (!are_apart(j, json_array_get(branches, i), json_array_get(branches, k))) {
                char why[120];

                snprintf(
                    why, sizeof(why),
                    "has branches %zu and %zu that may both hold; if that is no harm, say anyOf", i,
                    k);
                return refuse(j, LLMOS_EUNSUPPORTED, at, "oneOf", why);
            }
    return 0;
}

/* Each branch together with what stands beside it. */
static int put_branches(struct job *j, const json_t *schema, const char *name,
                        const struct path *at, struct buf *body)
{
    const json_t *branches = json_object_get(schema, name), *branch;
    json_t *base = keep(j, json_copy((json_t *)(uintptr_t)schema));
    bool is_bare = true;
    const char *key;
    json_t *value;
    size_t i;
    int rc = base ? 0 : no_memory(j);

    if (rc == 0 && (!json_is_array(branches) || json_array_size(branches) == 0))
        rc = refuse(j, LLMOS_EINVAL, at, name, "is not an array of schemas");
    if (rc == 0 && strcmp(name, "oneOf") == 0)
        rc = check_one_of(j, branches, at);
    json_object_del(base, name);
    json_object_foreach(base, key, value) is_bare &= is_note(key);
    buf_puts(body, "( ");
    json_array_foreach(branches, i, branch)
    {
        const struct path here = {at, name, 0}, there = {&here, NULL, i};
        const json_t *both = branch;

        if (rc == 0 && !is_bare && !json_is_true(branch)) {
            both = keep(j, all_of(base, branch));
            rc = both ? 0 : no_memory(j);
        } else if (!is_bare) {
            both = base;
        }
        buf_puts(body, i ? "| " : "");
        if (rc == 0)
            rc = put_schema(j, both, &there, body);
    }
    buf_puts(body, ") ");
    return rc;
}

/* --- a schema --- */

/* Of what an untyped schema must be: that which its keywords are about; anything, if of nothing. */
static unsigned untyped_bits(const json_t *schema)
{
    unsigned bits = 0;
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        size_t i = keyword_at(name);

        bits |= i < KEYWORDS ? keywords[i].of : 0;
    }
    return bits;
}

static int put_type(struct job *j, const json_t *schema, unsigned bit, const struct path *at,
                    struct buf *body)
{
    switch (bit) {
    case OBJECT:
        return put_object(j, schema, at, body);
    case ARRAY:
        return put_array(j, schema, at, body);
    case STRING:
        return put_string(j, schema, at, body);
    case NUMBER:
    case INTEGER:
        return put_number(j, schema, bit == INTEGER, at, body);
    default:
        buf_puts(body, bit == BOOLEAN ? "boolean " : "null ");
        return 0;
    }
}

static int put_types(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    const json_t *type = json_object_get(schema, "type");
    unsigned bits = type ? type_bits(type) : untyped_bits(schema);
    bool is_first = true;
    int rc = 0;

    if (type && !bits)
        return refuse(j, LLMOS_EINVAL, at, "type",
                      "is none of object, array, string, number, integer, boolean, null");
    if (json_object_get(schema, "enum") || json_object_get(schema, "const"))
        return put_values(j, schema, type ? bits : ~0u, at, body);
    if (!bits) {
        buf_puts(body, "value ");
        return 0;
    }
    if (bits & NUMBER)
        bits &= ~(unsigned)INTEGER; /* is one */
    buf_puts(body, "( ");
    for (unsigned bit = 1; rc == 0 && bit <= NIL; bit *= 2) {
        if (!(bits & bit))
            continue;
        buf_puts(body, is_first ? "" : "| ");
        is_first = false;
        rc = put_type(j, schema, bit, at, body);
    }
    buf_puts(body, ") ");
    return rc;
}

static bool only_ref(const json_t *schema)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        if (strcmp(name, "$ref") != 0 && !is_note(name))
            return false;
    }
    return json_object_get(schema, "$ref") != NULL;
}

static int put_parts(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    json_t *flat;
    int rc;

    if (only_ref(schema))
        return put_ref(j, schema, at, body);
    if (json_object_get(schema, "$ref") || json_object_get(schema, "allOf")) {
        rc = flatten(j, schema, at, &flat);
        return rc < 0 ? rc : put_schema(j, flat, at, body);
    }
    if (json_object_get(schema, "anyOf"))
        return put_branches(j, schema, "anyOf", at, body);
    if (json_object_get(schema, "oneOf"))
        return put_branches(j, schema, "oneOf", at, body);
    return put_types(j, schema, at, body);
}

/* Appends one element of a sequence, or several that are one text. */
static int put_schema(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    unsigned rule;
    CLEANUP(buf) struct buf own = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    int rc;

    if (json_is_true(schema)) {
        buf_puts(body, "value ");
        return 0;
    }
    if (!json_is_object(schema))
        return refuse(j, LLMOS_EINVAL, at, NULL,
                      json_is_false(schema) ? "is false: nothing is valid for it"
                                            : "is not an object");
    rc = check_keywords(j, schema, at);
    if (rc < 0)
        return rc;
    if (++j->depth > NESTED_MAX)
        return refuse(j, LLMOS_ELIMIT, at, NULL,
                      "refers to itself without end, or is nested too deep");
    if (j->out->len > SCHEMA_GRAMMAR_MAX / 2 && j->out->bad)
        return refuse(j, LLMOS_ELIMIT, at, NULL, "makes a grammar of more than 1 MiB");
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

        rc = put_schema(j, r.target, &here, &one);
        if (rc == 0)
            rc = buf_check(&one, "the grammar of the schema", j->err);
        if (rc == 0)
            buf_printf(j->out, "r%u ::= %s\n", r.rule, one.at);
    }
    return rc;
}

int schema_put(struct buf *out, const json_t *schema, struct llmos_error *err)
{
    CLEANUP(free) struct job *j = mem_zalloc(1, sizeof(*j));
    CLEANUP(buf) struct buf root = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    int rc;

    if (!j)
        return fail(err, LLMOS_ENOMEM, "no memory for the schema");
    *j = (struct job){.out = out, .root = schema, .err = err, .made = json_array()};
    rc = j->made ? put_schema(j, schema, NULL, &root) : no_memory(j);
    if (rc == 0)
        rc = put_targets(j);
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
