/* SPDX-License-Identifier: Apache-2.0 */
/* wordsteps.c - see wordsteps.h */
#include "model/wordsteps.h"

#include <stdio.h>

static const struct {
    const char *name;
    enum wordstep step;
} names[] = {
    {"clean_text", WORDSTEP_CLEAN},        {"handle_chinese_chars", WORDSTEP_CHINESE},
    {"strip_accents", WORDSTEP_ACCENTS},   {"strip_marks", WORDSTEP_MARKS},
    {"lowercase", WORDSTEP_LOWER},         {"runs", WORDSTEP_RUNS},
    {"punctuation", WORDSTEP_PUNCTUATION},
};

#define NAMES (sizeof(names) / sizeof(names[0]))

/* ---- by name ---- */

void wordsteps_print(unsigned steps, char out[WORDSTEPS_TEXT_MAX])
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < NAMES; i++)
        if (steps & names[i].step)
            n += (size_t)snprintf(out + n, WORDSTEPS_TEXT_MAX - n, "%s%s", n ? " " : "",
                                  names[i].name);
}

int wordsteps_parse(unsigned *steps, struct str text, struct llmos_error *err)
{
    unsigned all = 0;

    while (text.len) {
        const char *space = memchr(text.at, ' ', text.len);
        struct str name = {text.at, space ? (size_t)(space - text.at) : text.len};
        size_t i = 0;

        while (i < NAMES && !str_is(name, names[i].name))
            i++;
        if (i == NAMES)
            return fail(err, LLMOS_EUNSUPPORTED,
                        "'llmos.wordpiece.steps' has '%.*s', which this version does not know",
                        STR_ARG(name));
        all |= names[i].step;
        text.at += name.len + (space != NULL);
        text.len -= name.len + (space != NULL);
    }
    *steps = all;
    return 0;
}

/* ---- of a tokenizer.json ---- */

struct reading {
    unsigned steps;
    bool is_decomposed, ends_at_spaces;
    struct llmos_error *err;
};

static int refuse(struct reading *r, struct str what, const char *why)
{
    return fail(r->err, LLMOS_EUNSUPPORTED, "'%.*s' in 'tokenizer.json' %s",
                (int)(what.len < 60 ? what.len : 60), what.at ? what.at : "", why);
}

static bool is_true_if_said(struct jdoc_ref v)
{
    return !jdoc_is_there(v) || jdoc_true(v);
}

/* Accents go with capital letters where nothing is said of them. */
static unsigned bert_steps(struct jdoc_ref clean, struct jdoc_ref chinese, struct jdoc_ref accents,
                           struct jdoc_ref lower)
{
    bool lowers = is_true_if_said(lower);
    bool strips = jdoc_is_there(accents) ? jdoc_true(accents) : lowers;

    return (is_true_if_said(clean) ? WORDSTEP_CLEAN : 0u) |
           (is_true_if_said(chinese) ? WORDSTEP_CHINESE : 0u) | (strips ? WORDSTEP_ACCENTS : 0u) |
           (lowers ? WORDSTEP_LOWER : 0u);
}

static int add_normalizer(struct reading *r, struct jdoc_ref part)
{
    struct str type = jdoc_text(jdoc_get(part, "type"));

    if (str_is(type, "BertNormalizer"))
        r->steps |= bert_steps(jdoc_get(part, "clean_text"), jdoc_get(part, "handle_chinese_chars"),
                               jdoc_get(part, "strip_accents"), jdoc_get(part, "lowercase"));
    else if (str_is(type, "Lowercase"))
        r->steps |= WORDSTEP_LOWER;
    else if (str_is(type, "NFD"))
        r->is_decomposed = true;
    else if (str_is(type, "StripAccents"))
        r->steps |= WORDSTEP_MARKS | (r->is_decomposed ? WORDSTEP_ACCENTS : 0u);
    else if (!str_is(type, "Strip")) /* at the ends of a text there are no words */
        return refuse(r, type,
                      "changes a text in a way that is not known here for WordPiece; these are: "
                      "BertNormalizer Lowercase NFD StripAccents Strip");
    return 0;
}

static int add_cut(struct reading *r, struct jdoc_ref part)
{
    struct str type = jdoc_text(jdoc_get(part, "type"));
    struct str behavior = jdoc_text(jdoc_get(part, "behavior"));
    bool is_bert = str_is(type, "BertPreTokenizer"), is_runs = str_is(type, "Whitespace");

    if (is_bert || (str_is(type, "Punctuation") && (!behavior.at || str_is(behavior, "Isolated"))))
        r->steps |= WORDSTEP_PUNCTUATION;
    else if (is_runs)
        r->steps |= WORDSTEP_RUNS;
    else if (!str_is(type, "WhitespaceSplit"))
        return refuse(r, type,
                      "cuts a text in a way that is not known here for WordPiece; these are: "
                      "BertPreTokenizer Whitespace WhitespaceSplit, Punctuation that is isolated");
    r->ends_at_spaces |= !str_is(type, "Punctuation");
    return 0;
}

/* A part, or those of a sequence; null is none. */
static int add_all(struct reading *r, struct jdoc_ref whole, const char *list,
                   int (*add)(struct reading *r, struct jdoc_ref part))
{
    struct jdoc_ref all = jdoc_get(whole, list);
    int rc = 0;

    if (!jdoc_is_there(whole))
        return 0;
    if (!str_is(jdoc_text(jdoc_get(whole, "type")), "Sequence"))
        return add(r, whole);
    for (struct jdoc_ref v = jdoc_first(all, NULL); jdoc_at(v) && rc == 0;
         v = jdoc_next(all, v, NULL))
        rc = add(r, v);
    return rc;
}

int wordsteps_read(unsigned *steps, struct jdoc_ref tokenizer, struct llmos_error *err)
{
    struct reading r = {.err = err};
    int rc = add_all(&r, jdoc_get(tokenizer, "normalizer"), "normalizers", add_normalizer);

    if (rc == 0)
        rc = add_all(&r, jdoc_get(tokenizer, "pre_tokenizer"), "pretokenizers", add_cut);
    if (rc == 0 && r.is_decomposed && !(r.steps & WORDSTEP_ACCENTS))
        rc = refuse(&r, STR("NFD"),
                    "takes letters and accents apart and leaves both, which is not "
                    "known here for WordPiece");
    if (rc == 0 && !r.ends_at_spaces)
        rc = refuse(&r, STR("pre_tokenizer"), "does not end words at white space");
    if (rc == 0)
        *steps = r.steps;
    return rc;
}

unsigned wordsteps_of_config(struct jdoc_ref config)
{
    return WORDSTEP_PUNCTUATION |
           bert_steps(JDOC_ABSENT, jdoc_get(config, "tokenize_chinese_chars"),
                      jdoc_get(config, "strip_accents"), jdoc_get(config, "do_lower_case"));
}
