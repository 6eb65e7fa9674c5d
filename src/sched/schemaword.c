/* SPDX-License-Identifier: Apache-2.0 */
/* schemaword.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/near.h"

#include <stdio.h>

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
    {"id", NOTE, 0}, /* of draft 4 */
    {"$anchor", NOTE, 0},
    {"$dynamicAnchor", NOTE, 0},
    {"nullable", NOTE, 0}, /* of OpenAPI: null would be valid, too */
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
    {"not", KEPT, 0},
    {"if", KEPT, 0},
    {"then", KEPT, 0},
    {"else", KEPT, 0},
    {"contains", KEPT, ARRAY},
    {"minContains", KEPT, ARRAY},
    {"maxContains", KEPT, ARRAY},
    {"uniqueItems", KEPT, ARRAY},
    {"unevaluatedItems", NOT_KEPT, 0},
    {"unevaluatedProperties", NOT_KEPT, 0},
    {"additionalItems", NOT_KEPT, 0},
    {"patternProperties", KEPT, OBJECT},
    {"propertyNames", KEPT, OBJECT},
    {"minProperties", KEPT, OBJECT},
    {"maxProperties", KEPT, OBJECT},
    {"dependentRequired", KEPT, OBJECT},
    {"dependentSchemas", KEPT, OBJECT},
    {"dependencies", KEPT, OBJECT},
    {"multipleOf", KEPT, NUMBER},
    {"$dynamicRef", NOT_KEPT, 0},
};
#define KEYWORDS (sizeof(keywords) / sizeof(keywords[0]))

static size_t keyword_at(const char *name)
{
    size_t i = 0;

    while (i < KEYWORDS && strcmp(keywords[i].name, name) != 0)
        i++;
    return i;
}

/* May it be a mistyped keyword?  A look of little cost, since schemas may have many words. */
static bool may_resemble(const char *name, const char *keyword)
{
    size_t n = strlen(name), k = strlen(keyword);

    if ((name[0] | 32) != (keyword[0] | 32))
        return false;
    return (n + 2 >= k && n <= k + 2) || (n >= 3 && strncmp(name, keyword, n) == 0);
}

/* A keyword that it resembles, and that says something; NULL: none. */
static const char *resembled(const char *name)
{
    struct near near = {.word = name};

    for (size_t i = 0; i < KEYWORDS; i++)
        if (keywords[i].kind != NOTE && may_resemble(name, keywords[i].name))
            near_offer(&near, keywords[i].name);
    return near.best;
}

/* What JSON Schema does not know are annotations, as it says; but mistyped words are none. */
bool schema_is_note(const char *name)
{
    size_t i = keyword_at(name);

    if (i < KEYWORDS)
        return keywords[i].kind == NOTE;
    return strncmp(name, "x-", 2) == 0 || !resembled(name);
}

/* With these values a keyword that is not kept says nothing: what is not named does not come
 * anyway. */
bool schema_says_nothing(const char *name, const json_t *v)
{
    static const char *const all[] = {"unevaluatedItems", "unevaluatedProperties",
                                      "additionalItems"};

    if (strcmp(name, "uniqueItems") == 0)
        return json_is_false(v);
    for (size_t i = 0; i < 3; i++)
        if (strcmp(name, all[i]) == 0)
            return json_is_boolean(v);
    return false;
}

static int unknown_keyword(struct job *j, const struct path *at, const char *name)
{
    char why[160];

    snprintf(why, sizeof(why), "is not known; did you mean '%.60s'?", resembled(name));
    return schema_refuse(j, LLMOS_EUNSUPPORTED, at, name, why);
}

int schema_check_keywords(struct job *j, const json_t *schema, const struct path *at)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        size_t i = keyword_at(name);

        if (schema_is_note(name) || (i < KEYWORDS && keywords[i].kind == KEPT))
            continue;
        if (i == KEYWORDS)
            return unknown_keyword(j, at, name);
        if (!schema_says_nothing(name, value))
            return schema_refuse(j, LLMOS_EUNSUPPORTED, at, name,
                                 strncmp(name, "$dynamic", 8) == 0
                                     ? "is not supported; '$ref' to a place in the schema is"
                                     : "is not supported");
    }
    return 0;
}

int schema_take_size(struct job *j, const json_t *schema, const struct path *at, const char *name,
                     uint64_t *out)
{
    const json_t *v = json_object_get(schema, name);
    double number = json_number_value(v);

    if (!v)
        return 0;
    if (!json_is_number(v) || number < 0 || number != (double)(uint64_t)number)
        return schema_refuse(j, LLMOS_EINVAL, at, name, "is not a number of things");
    if (number > SCHEMA_LENGTH_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, name,
                             "is above 65536, which is the most that is counted");
    *out = (uint64_t)number;
    return 1;
}

/* Of what an untyped schema must be: that which its keywords are about; anything, if of nothing. */
unsigned schema_untyped_bits(const json_t *schema)
{
    unsigned bits = 0;
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)schema, name, value)
    {
        size_t i = keyword_at(name);

        if (i < KEYWORDS && !schema_says_nothing(name, value))
            bits |= keywords[i].of;
    }
    return bits;
}
