/* SPDX-License-Identifier: Apache-2.0 */
/* schemastring.c - see schemajob.h */
#include "sched/schemajob.h"

#include "sched/regex.h"

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
    return schema_refuse(
        j, LLMOS_EUNSUPPORTED, at, "format",
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
        return schema_refuse(j, LLMOS_EINVAL, at, "pattern", "is not a string");
    buf_puts(body, "\"\\\"\" ");
    rc = regex_put(body, text, REGEX_JSON_PART, &why);
    if (rc < 0)
        return schema_refuse(j, rc, at, "pattern", why.text);
    buf_puts(body, " \"\\\"\" ");
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
    if (!!pattern + !!format + (least > 0 || high > 0) > 1)
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, pattern ? "pattern" : "format",
                             "together with another limit of a string is not supported");
    if (pattern)
        return put_pattern(j, pattern, at, body);
    if (format)
        return put_format(j, format, at, body);
    if (most < least)
        return schema_refuse(j, LLMOS_EINVAL, at, "maxLength", "is less than minLength");
    if (low == 0 && high == 0)
        buf_puts(body, "string ");
    else if (high == 0)
        buf_printf(body, "\"\\\"\" char{%llu,} \"\\\"\" ", (unsigned long long)least);
    else
        buf_printf(body, "\"\\\"\" char{%llu,%llu} \"\\\"\" ", (unsigned long long)least,
                   (unsigned long long)most);
    return 0;
}
