/* SPDX-License-Identifier: Apache-2.0 */
/* templatesign.c - see templatesign.h */
#include "model/templatesign.h"

static bool has(struct str text, const char *part)
{
    return memmem(text.at, text.len, part, strlen(part)) != NULL;
}

static bool fits(const struct templatesign *s, struct str template)
{
    for (size_t i = 0; i < 2; i++)
        if (s->has[i] && !has(template, s->has[i]))
            return false;
    return true;
}

const char *templatesign_find(const struct templatesign *table, size_t count, struct str template)
{
    for (size_t i = 0; i < count; i++)
        if (fits(&table[i], template))
            return table[i].name;
    return "";
}
