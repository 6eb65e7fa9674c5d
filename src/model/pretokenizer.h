/* SPDX-License-Identifier: Apache-2.0 */
/* pretokenizer.h - where byte-level BPE cuts a text before it merges: "tokenizer.ggml.pre".
 *
 * One table: the name that a GGUF file gives, the expressions, what else the name implies.  The
 * expressions are those of the models' tokenizer.json, each applied to the pieces of the one before
 * (a "Sequence" of "Split"s that are "Isolated"). */
#ifndef MODEL_PRETOKENIZER_H
#define MODEL_PRETOKENIZER_H

#include "model/splitter.h"

/* What steps of a tokenizer.json that are no "Split" are as expressions: ByteLevel with use_regex
 * (without it it splits nothing), Digits with and without individual_digits, contiguous
 * Punctuation.
 */
#define PRETOKENIZER_BYTE_LEVEL \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define PRETOKENIZER_DIGIT       "\\p{N}"
#define PRETOKENIZER_DIGITS      "\\p{N}+"
#define PRETOKENIZER_PUNCTUATION "\\p{P8}+"

struct pretokenizer {
    const char *name;
    const char *const *expressions; /* at most SPLITTER_STEPS_MAX, then NULL */
    bool ignore_merges;             /* a piece that is a token is that token, whatever the merges */
    bool add_bos;                   /* where the file does not say */
};

/* NULL if the name is not known. */
const struct pretokenizer *pretokenizer_by_name(struct str name);
/* The i-th of the table, NULL behind the last. */
const struct pretokenizer *pretokenizer_at(size_t i);

/* For converters: the first that has exactly these expressions, as a tokenizer.json writes them,
 * and this ignore_merges; NULL if there is none.  Its name is for "tokenizer.ggml.pre". */
const struct pretokenizer *pretokenizer_by_expressions(const struct str *expressions, size_t count,
                                                       bool ignore_merges);

int pretokenizer_compile(const struct pretokenizer *p, struct splitter *s, struct arena *arena,
                         struct llmos_error *err);

#endif
