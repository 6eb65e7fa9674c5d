/* SPDX-License-Identifier: Apache-2.0 */
/* schemastring.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/mem.h"
#include "base/near.h"

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

#define EMAIL   "[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,20}){0,3}@" HOST
#define PATH    "(/[A-Za-z0-9._~-]{0,60}){0,20}(\\?[A-Za-z0-9._~=&-]{0,200})?(#[A-Za-z0-9._~-]{0,60})?"
#define URI     "[a-z][a-z0-9+.-]{0,30}://" HOST "(:[1-9]\\d{0,3})?" PATH
#define POINTER "(/([A-Za-z0-9 ._-]|~[01]){0,60}){0,20}"

/* Each all of the format, or a part of it that is certain. */
static const struct {
    const char *name, *regex;
} formats[] = {
    {"date", DATE},
    {"time", CLOCK},
    {"date-time", DATE "T" CLOCK},
    {"duration", "P((\\d{1,6}D|\\d{1,6}M(\\d{1,6}D)?|\\d{1,6}Y(\\d{1,6}M(\\d{1,6}D)?)?)(T" SPAN
                 ")?|T" SPAN "|\\d{1,6}W)"},
    {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
    {"email", EMAIL},
    {"idn-email", EMAIL},
    {"idn-hostname", HOST},
    {"hostname", HOST},
    {"ipv4", BYTE "(\\." BYTE "){3}"},
    {"ipv6", GROUP "(:" GROUP "){7}|(" GROUP "(:" GROUP "){0,2})?::(" GROUP "(:" GROUP "){0,3})?"},
    {"uri", URI},
    {"iri", URI},
    {"uri-reference", URI "|/?[a-z0-9._~-]{1,60}" PATH},
    {"iri-reference", URI "|/?[a-z0-9._~-]{1,60}" PATH},
    {"uri-template",
     URI "|/?[a-z0-9._~-]{1,60}((/|\\{[a-z]{1,30}\\}){1,2}[a-z0-9._~-]{1,60}){0,20}"},
    {"json-pointer", POINTER},
    {"relative-json-pointer", "(0|[1-9]\\d{0,3})(#|" POINTER ")"},
    {"regex", "[A-Za-z0-9 _=:;,-]{0,200}"},
};

static const char *format_regex(const char *name)
{
    for (size_t i = 0; name && i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(formats[i].name, name) == 0)
            return formats[i].regex;
    return NULL;
}

const json_t *schema_regex_at(const json_t *parts, size_t i)
{
    if (json_is_array(parts))
        return json_array_get(parts, i + 1);
    return i == 0 ? parts : NULL;
}

/* Is it a mistyped one?  Of few letters everything is. */
static bool resembled_format(const char *name)
{
    struct near near = {.word = name};

    for (size_t i = 0; name && strlen(name) > 4 && i < sizeof(formats) / sizeof(formats[0]); i++)
        near_offer(&near, formats[i].name);
    return near.best != NULL;
}

/* The regular expression of a keyword's value. */
static int take_regex(struct job *j, const char *keyword, const json_t *value,
                      const struct path *at, struct str *regex)
{
    bool is_format = strcmp(keyword, "format") == 0;
    const char *text = json_string_value(value);

    if (!is_format && !text)
        return schema_refuse(j, LLMOS_EINVAL, at, keyword, "is not a string");
    if (is_format)
        text = format_regex(text);
    if (!text && resembled_format(json_string_value(value)))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, keyword,
                             "is none that is known, but looks like one of date, time, date-time, "
                             "duration, uuid, email, hostname, ipv4, ipv6, uri");
    if (!text)
        text = "[\\s\\S]*"; /* what nobody knows is an annotation */
    *regex = str_of(text);
    return 0;
}

/* --- one limit alone: as it is written --- */

static int put_regex(struct job *j, const char *keyword, const json_t *value, const struct path *at,
                     struct buf *body)
{
    bool is_format = strcmp(keyword, "format") == 0;
    struct llmos_error why = {0};
    struct str regex;
    int rc = take_regex(j, keyword, value, at, &regex);

    if (rc < 0)
        return rc;
    buf_puts(body, "\"\\\"\" ");
    rc = regex_put(body, regex, is_format ? REGEX_JSON_WHOLE : REGEX_JSON_PART, &why);
    if (rc < 0)
        return schema_refuse(j, rc, at, keyword, why.text);
    buf_puts(body, " \"\\\"\" ");
    return 0;
}

static void put_length(uint64_t least, uint64_t most, struct buf *body)
{
    if (least == 0 && most == UINT64_MAX)
        buf_puts(body, "string ");
    else if (most == UINT64_MAX)
        buf_printf(body, "\"\\\"\" char{%llu,} \"\\\"\" ", (unsigned long long)least);
    else
        buf_printf(body, "\"\\\"\" char{%llu,%llu} \"\\\"\" ", (unsigned long long)least,
                   (unsigned long long)most);
}

/* --- several at once: an automaton --- */

static int narrow(struct job *j, struct automaton *a, struct automaton *by, enum automaton_how how,
                  const struct path *at, const char *keyword)
{
    struct llmos_error why = {0};
    int rc = automaton_narrow(a, by, how, &j->work, &why);

    automaton_fini(by);
    return rc < 0 ? schema_refuse(j, rc, at, keyword, why.text) : 0;
}

int schema_regex_set(struct job *j, const char *keyword, const json_t *value, const struct path *at,
                     struct automaton *a)
{
    bool is_part = strcmp(keyword, "format") != 0;
    CLEANUP(regex) struct regex r = {.parts = {.at = NULL}};
    struct llmos_error why = {0};
    struct str regex;
    int rc = take_regex(j, keyword, value, at, &regex);

    if (rc < 0)
        return rc;
    rc = regex_parse(&r, regex, is_part, &why);
    if (rc == 0)
        rc = automaton_of_regex(a, &r, &j->work, &why);
    return rc < 0 ? schema_refuse(j, rc, at, keyword, why.text) : 0;
}

static int narrow_regexes(struct job *j, const json_t *schema, const char *keyword,
                          const struct path *at, struct automaton *a)
{
    const json_t *parts = json_object_get(schema, keyword), *one;

    for (size_t i = 0; (one = schema_regex_at(parts, i)); i++) {
        struct automaton by;
        int rc = schema_regex_set(j, keyword, one, at, &by);

        if (rc == 0)
            rc = narrow(j, a, &by, AUTOMATON_AND, at, keyword);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The strings of a list; others in it do not count. */
static int words_of(struct job *j, const json_t *list, const struct path *at, const char *keyword,
                    struct automaton *a)
{
    CLEANUP(free) struct str *words = mem_alloc((json_array_size(list) + 1) * sizeof(*words));
    struct llmos_error why = {0};
    size_t count = 0, i;
    const json_t *v;
    int rc;

    if (!words)
        return schema_no_memory(j);
    json_array_foreach(list, i, v)
    {
        if (json_is_string(v))
            words[count++] = (struct str){json_string_value(v), json_string_length(v)};
    }
    rc = automaton_of_words(a, words, count, &j->work, &why);
    return rc < 0 ? schema_refuse(j, rc, at, keyword, why.text) : 0;
}

static int leave_out(struct job *j, const json_t *schema, const struct path *at,
                     struct automaton *a)
{
    const json_t *one, *pattern;

    for (size_t i = 0; (one = schema_excluded(schema, i)); i++) {
        struct automaton by;
        int rc = 0;

        pattern = json_object_get(one, "pattern");
        if (!pattern && !json_object_get(one, "enum"))
            continue;
        rc = pattern ? schema_regex_set(j, "pattern", pattern, at, &by)
                     : words_of(j, json_object_get(one, "enum"), at, "not", &by);
        if (rc == 0)
            rc = narrow(j, a, &by, AUTOMATON_AND_NOT, at, "not");
        if (rc < 0)
            return rc;
    }
    return 0;
}

int schema_string_set(struct job *j, const json_t *schema, const struct path *at,
                      struct automaton *a)
{
    uint64_t least = 0, most = REGEX_NO_END;
    struct llmos_error why = {0};
    int rc = schema_take_size(j, schema, at, "minLength", &least);

    if (rc >= 0)
        rc = schema_take_size(j, schema, at, "maxLength", &most);
    if (rc < 0)
        return rc;
    if (most < least)
        return schema_nothing(j, at, "maxLength", "is less than minLength");
    rc = automaton_of_lengths(a, (uint32_t)least, (uint32_t)most, &why);
    if (rc < 0)
        return schema_refuse(j, rc, at, most == REGEX_NO_END ? "minLength" : "maxLength", why.text);
    rc = narrow_regexes(j, schema, "pattern", at, a);
    if (rc == 0)
        rc = narrow_regexes(j, schema, "format", at, a);
    if (rc == 0)
        rc = leave_out(j, schema, at, a);
    if (rc < 0)
        automaton_fini(a);
    return rc;
}

static int put_set(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    CLEANUP(automaton) struct automaton a = {.states = {.at = NULL}};
    int rc = schema_string_set(j, schema, at, &a);

    if (rc < 0)
        return rc;
    if (automaton_is_empty(&a))
        return schema_nothing(j, at, NULL, "leaves no string that is possible");
    buf_printf(body, "\"\\\"\" r%u \"\\\"\" ", j->rules);
    automaton_put(j->out, &a, true, "char* ", &j->rules);
    return 0;
}

int schema_put_strings(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    const json_t *pattern = json_object_get(schema, "pattern");
    const json_t *format = json_object_get(schema, "format");
    uint64_t least = 0, most = UINT64_MAX;
    int low = schema_take_size(j, schema, at, "minLength", &least);
    int high = low < 0 ? low : schema_take_size(j, schema, at, "maxLength", &most);

    if (high < 0)
        return high;
    if (json_is_string(format) && !format_regex(json_string_value(format)) &&
        !resembled_format(json_string_value(format)))
        format = NULL;
    if (schema_excluded(schema, 0) || json_is_array(pattern) || json_is_array(format) ||
        !!pattern + !!format + (low > 0 || high > 0) > 1)
        return put_set(j, schema, at, body);
    if (pattern)
        return put_regex(j, "pattern", pattern, at, body);
    if (format)
        return put_regex(j, "format", format, at, body);
    if (most < least)
        return schema_nothing(j, at, "maxLength", "is less than minLength");
    put_length(least, most, body);
    return 0;
}
