/* SPDX-License-Identifier: Apache-2.0 */
/* pretoken.c - see pretoken.h */
#include "model/pretoken.h"

/* clang-format off */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define SPACES "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS "[^\\r\\n\\p{L}\\p{N}]?"

static const struct {
    const char *expression, *name;
} known[] = {
    {CONTRACTION "|" WORDS "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES, "llama-bpe"},
    {CONTRACTION "|" WORDS "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES, "qwen2"},
    {WORDS UPPER "*" LOWER "+" CONTRACTION "?|" WORDS UPPER "+" LOWER "*" CONTRACTION "?"
     "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES, "gpt-4o"},
    {WORDS UPPER "*" LOWER "+|" WORDS UPPER "+" LOWER "*"
     "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES, "tekken"},
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "gpt-2"},
};
/* clang-format on */

/* What the parts of a pre-tokenizer ask for. */
struct wishes {
    struct str expression;
    unsigned splits, others;
    bool has_bytes, bytes_split, has_digits;
};

static void hear(struct wishes *w, struct jdoc_ref part)
{
    struct str type = jdoc_text(jdoc_get(part, "type"));
    struct jdoc_ref use = jdoc_get(part, "use_regex");

    if (str_is(type, "Split")) {
        w->expression = jdoc_text(jdoc_path(part, "pattern.Regex"));
        w->splits++;
    } else if (str_is(type, "ByteLevel")) {
        w->has_bytes = true;
        w->bytes_split = !jdoc_at(use) || jdoc_true(use);
    } else if (str_is(type, "Digits") && jdoc_true(jdoc_get(part, "individual_digits"))) {
        w->has_digits = true;
    } else {
        w->others++;
    }
}

static const char *name_of(const struct wishes *w)
{
    if (!w->has_bytes || w->others || w->splits > 1)
        return NULL;
    if (w->splits == 0)
        return !w->bytes_split ? NULL : w->has_digits ? "starcoder" : "gpt-2";
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (w->expression.at && str_is(w->expression, known[i].expression) && !w->has_digits)
            return known[i].name;
    return NULL;
}

const char *pretoken_name(struct jdoc_ref pre, struct llmos_error *err)
{
    struct jdoc_ref list = jdoc_get(pre, "pretokenizers");
    struct wishes w = {.splits = 0};
    const char *name;

    if (str_is(jdoc_text(jdoc_get(pre, "type")), "Sequence"))
        for (struct jdoc_ref v = jdoc_first(list, NULL); jdoc_at(v); v = jdoc_next(list, v, NULL))
            hear(&w, v);
    else
        hear(&w, pre);
    name = name_of(&w);
    if (!name)
        fail(err, LLMOS_EUNSUPPORTED,
             "the pre-tokenizer of 'tokenizer.json' is not one that this version knows%s%.*s",
             w.expression.at ? ": " : "", (int)(w.expression.len < 120 ? w.expression.len : 120),
             w.expression.at ? w.expression.at : "");
    return name;
}
