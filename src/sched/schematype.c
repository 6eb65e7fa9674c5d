/* SPDX-License-Identifier: Apache-2.0 */
/* schematype.c - see schemajob.h */
#include "sched/schemajob.h"

static const struct {
    const char *name;
    unsigned bit;
} types[] = {{"object", OBJECT},   {"array", ARRAY},     {"string", STRING}, {"number", NUMBER},
             {"integer", INTEGER}, {"boolean", BOOLEAN}, {"null", NIL}};

unsigned schema_type_bits(const json_t *type)
{
    unsigned bits = 0;

    if (json_is_array(type)) {
        size_t i;
        const json_t *one;

        json_array_foreach(type, i, one)
        {
            unsigned bit = json_is_string(one) ? schema_type_bits(one) : 0;

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

json_t *schema_both_types(const json_t *a, const json_t *b)
{
    unsigned x = schema_type_bits(a), y = schema_type_bits(b), both = x & y;

    if ((x & NUMBER && y & INTEGER) || (y & NUMBER && x & INTEGER))
        both |= INTEGER;
    return both ? types_of_bits(both) : NULL;
}

unsigned schema_value_bits(const json_t *v)
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
