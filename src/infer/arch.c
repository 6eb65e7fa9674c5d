/* SPDX-License-Identifier: Apache-2.0 */
/* arch.c - how each family is computed: a new one is one more line here, and one in family.c. */
#include "infer/arch.h"

#include <string.h>

static const struct {
    const char *name;
    const struct arch *arch;
} families[] = {
    {"qwen2moe", &arch_llama}, {"qwen3moe", &arch_llama},   {"gpt-oss", &arch_llama},
    {"llama", &arch_llama},    {"smollm3", &arch_llama},    {"qwen2", &arch_llama},
    {"qwen3", &arch_llama},    {"phi3", &arch_llama},       {"granite", &arch_llama},
    {"gemma", &arch_gemma},    {"gemma2", &arch_gemma},     {"gemma3", &arch_gemma},
    {"olmo2", &arch_olmo2},    {"gpt2", &arch_gpt2},        {"starcoder2", &arch_gpt2},
    {"bert", &arch_bert},      {"nomic-bert", &arch_nomic}, {"modern-bert", &arch_modernbert},
};

const struct arch *arch_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strcmp(families[i].name, name) == 0)
            return families[i].arch;
    return NULL;
}

const struct arch_ops *arch_head(const struct arch *arch, const struct weights *w)
{
    static const struct arch_op labels[] = {
        {OP_LINEAR, SLOT_LOGITS, SLOT_P, SLOT_NONE, WEIGHT_CLS_OUT},
        {OP_BIAS, SLOT_LOGITS, SLOT_NONE, SLOT_NONE, WEIGHT_CLS_OUT_BIAS},
    };
    static const struct arch_ops none = {NULL, 0}, direct = ARCH_OPS(labels);

    if (!w->model[WEIGHT_CLS_OUT])
        return &none;
    return w->model[WEIGHT_CLS] ? &arch->head : &direct;
}
