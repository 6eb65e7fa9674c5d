/* SPDX-License-Identifier: Apache-2.0 */
/* schemaref.c - see schemajob.h */
#include "sched/schemajob.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX 256

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

int schema_find_target(struct job *j, const json_t *schema, const struct path *at,
                       const json_t **target)
{
    const json_t *ref = json_object_get(schema, "$ref"), *v = j->root;
    const char *c = json_string_value(ref);
    char part[NAME_MAX];

    if (!c)
        return schema_refuse(j, LLMOS_EINVAL, at, "$ref", "is not a string");
    if (*c != '#' || (c[1] && c[1] != '/'))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "$ref",
                             "leads out of the schema; only '#/...' is followed");
    for (c++; *c && v;) {
        if (!next_part(&c, part))
            return schema_refuse(j, LLMOS_EINVAL, at, "$ref", "has a part that is too long");
        v = json_is_array(v) ? json_array_get(v, (size_t)strtoul(part, NULL, 10))
                             : json_object_get(v, part);
    }
    if (!v)
        return schema_refuse(j, LLMOS_EINVAL, at, "$ref", "leads to nothing");
    *target = v;
    return 0;
}

/* The rule of what is referred to; it is written later. */
int schema_put_ref(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    const json_t *target = NULL;
    size_t i = 0;
    int rc = schema_find_target(j, schema, at, &target);

    if (rc < 0)
        return rc;
    while (i < j->ref_count && j->refs[i].target != target)
        i++;
    if (i == SCHEMA_REFS_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, "$ref",
                             "is one too many: 1024 places are followed");
    if (i == j->ref_count)
        j->refs[j->ref_count++] = (struct ref){target, j->rules++};
    buf_printf(body, "r%u ", j->refs[i].rule);
    return 0;
}
