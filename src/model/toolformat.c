/* SPDX-License-Identifier: Apache-2.0 */
/* toolformat.c - see toolformat.h */
#include "model/toolformat.h"

#include <stddef.h>

#define PARTS_MAX 2

static const struct {
    const char *name;
    const char *has[PARTS_MAX], *lacks[PARTS_MAX];
} formats[] = {
    {"mistral", {"[TOOL_CALLS]"}, {"[ARGS]"}}, /* newer ones: a name, [ARGS], the arguments */
    {"hermes", {"<tool_call>"}, {"<function=", "<arg_key>"}}, /* XML of Qwen3-Coder, of GLM */
    {"llama3", {"\"parameters\":", "<|start_header_id|>"}, {NULL}},
};

static bool has(struct str text, const char *part)
{
    return memmem(text.at, text.len, part, strlen(part)) != NULL;
}

const char *toolformat_of(struct str template)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        bool fits = true;

        for (size_t k = 0; k < PARTS_MAX; k++) {
            fits &= !formats[i].has[k] || has(template, formats[i].has[k]);
            fits &= !formats[i].lacks[k] || !has(template, formats[i].lacks[k]);
        }
        if (fits)
            return formats[i].name;
    }
    return "";
}
