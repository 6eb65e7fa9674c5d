/* SPDX-License-Identifier: Apache-2.0 */
/* thoughtformat.c - see thoughtformat.h */
#include "model/thoughtformat.h"

#include "model/templatesign.h"

static const struct templatesign formats[] = {
    {"harmony", {"<|channel|>", "<|message|>"}},
    {"mistral", {"[THINK]"}},
    {"granite", {"</think>", "<response>"}},
    {"command", {"<|START_THINKING|>", "<|START_RESPONSE|>"}},
    {"cohere2", {"<|START_THINKING|>", "<|START_TEXT|>"}},
    {"seed", {"</seed:think>"}},
    {"think", {"</think>"}},
};

const char *thoughtformat_of(struct str template)
{
    return templatesign_find(formats, sizeof(formats) / sizeof(formats[0]), template);
}
