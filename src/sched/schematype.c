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

json_t *schema_types_of_bits(unsigned bits)
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
    return both ? schema_types_of_bits(both) : NULL;
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

static bool is_same_array(const json_t *a, const json_t *b)
{
    const json_t *one;
    size_t i;

    json_array_foreach(a, i, one)
    {
        if (!schema_is_equal(one, json_array_get(b, i)))
            return false;
    }
    return json_array_size(a) == json_array_size(b);
}

static bool is_same_object(const json_t *a, const json_t *b)
{
    const char *name;
    json_t *one;

    json_object_foreach((json_t *)(uintptr_t)a, name, one)
    {
        if (!schema_is_equal(one, json_object_get(b, name)))
            return false;
    }
    return json_object_size(a) == json_object_size(b);
}

/* The depth of JSON is bounded where it is read. */
bool schema_is_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (json_is_array(a) && json_is_array(b))
        return is_same_array(a, b);
    if (json_is_object(a) && json_is_object(b))
        return is_same_object(a, b);
    return json_equal(a, b);
}
