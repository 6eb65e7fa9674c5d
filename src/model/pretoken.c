/* SPDX-License-Identifier: Apache-2.0 */
/* pretoken.c - see pretoken.h */
#include "model/pretoken.h"

#include "model/pretokenizer.h"

/* The steps of a pre-tokenizer, as expressions. */
struct steps {
    struct str at[SPLITTER_STEPS_MAX];
    size_t count;
    bool is_unknown;     /* one that no expression stands for */
    struct str behavior; /* of a split whose pieces are others than matches and what is between */
};

static void add(struct steps *s, struct str expression)
{
    if (s->count == SPLITTER_STEPS_MAX || !expression.at)
        s->is_unknown = true;
    else
        s->at[s->count++] = expression;
}

static void add_split(struct steps *s, struct jdoc_ref part)
{
    struct str behavior = jdoc_text(jdoc_get(part, "behavior"));
    bool keeps_matches = jdoc_true(jdoc_get(part, "invert")) && str_is(behavior, "Removed");

    if (behavior.at && !keeps_matches && !str_is(behavior, "Isolated"))
        s->behavior = behavior;
    add(s, jdoc_text(jdoc_path(part, "pattern.Regex")));
}

static void add_step(struct steps *s, struct jdoc_ref part)
{
    struct str type = jdoc_text(jdoc_get(part, "type"));
    struct jdoc_ref use = jdoc_get(part, "use_regex");

    if (str_is(type, "Split"))
        add_split(s, part);
    else if (str_is(type, "Digits"))
        add(s, jdoc_true(jdoc_get(part, "individual_digits")) ? STR(PRETOKENIZER_DIGIT)
                                                              : STR(PRETOKENIZER_DIGITS));
    else if (str_is(type, "Punctuation"))
        add(s, STR(PRETOKENIZER_PUNCTUATION));
    else if (!str_is(type, "ByteLevel"))
        s->is_unknown = true;
    else if (!jdoc_at(use) || jdoc_true(use))
        add(s, STR(PRETOKENIZER_BYTE_LEVEL));
}

const char *pretoken_name(struct jdoc_ref pre, bool ignore_merges, struct llmos_error *err)
{
    struct jdoc_ref list = jdoc_get(pre, "pretokenizers");
    const struct pretokenizer *known = NULL;
    struct steps s = {.count = 0};
    struct str last;

    if (str_is(jdoc_text(jdoc_get(pre, "type")), "Sequence"))
        for (struct jdoc_ref v = jdoc_first(list, NULL); jdoc_at(v); v = jdoc_next(list, v, NULL))
            add_step(&s, v);
    else
        add_step(&s, pre);
    if (s.behavior.at) {
        fail(err, LLMOS_EUNSUPPORTED,
             "a split in 'tokenizer.json' is '%.*s'; this version knows Isolated, and Removed if "
             "inverted",
             (int)(s.behavior.len < 40 ? s.behavior.len : 40), s.behavior.at);
        return NULL;
    }
    if (!s.is_unknown && s.count)
        known = pretokenizer_by_expressions(s.at, s.count, ignore_merges);
    if (known)
        return known->name;
    last = s.count ? s.at[s.count - 1] : STR("");
    fail(
        err, LLMOS_EUNSUPPORTED,
        "the pre-tokenizer of 'tokenizer.json' is not one that this version knows: %zu steps%s%.*s",
        s.count, s.count ? ", the last of them " : "", (int)(last.len < 120 ? last.len : 120),
        last.at);
    return NULL;
}
