/* SPDX-License-Identifier: Apache-2.0 */
/* wordsteps.h - what is done to a text before WordPiece looks for the pieces of its words.
 *
 * As the normalizer and the pre_tokenizer of a tokenizer.json say it.  In a GGUF file their names
 * stand in "llmos.wordpiece.steps", with a space between two; only we write that key.  Words always
 * end at white space. */
#ifndef MODEL_WORDSTEPS_H
#define MODEL_WORDSTEPS_H

#include "model/jsondoc.h"

/* In the order in which they are done, whatever the order of their names. */
enum wordstep {
    WORDSTEP_CLEAN = 1,       /* "clean_text": control characters vanish, line ends are spaces */
    WORDSTEP_CHINESE = 2,     /* "handle_chinese_chars": each is a word */
    WORDSTEP_ACCENTS = 4,     /* "strip_accents": canonical decomposition without category Mn */
    WORDSTEP_MARKS = 8,       /* "strip_marks": combining characters vanish */
    WORDSTEP_LOWER = 16,      /* "lowercase" */
    WORDSTEP_RUNS = 32,       /* "runs": words end where \w and [^\w\s] meet */
    WORDSTEP_PUNCTUATION = 64 /* "punctuation": each is a word */
};

/* BERT's own, and what it adds for vocabularies without capital letters (Devlin et al. 2019). */
#define WORDSTEPS_BERT    (WORDSTEP_CLEAN | WORDSTEP_CHINESE | WORDSTEP_PUNCTUATION)
#define WORDSTEPS_UNCASED (WORDSTEP_ACCENTS | WORDSTEP_LOWER)

/* Room for all names. */
#define WORDSTEPS_TEXT_MAX 96

/* The names with spaces between them, and back.  LLMOS_EUNSUPPORTED: a name that is not known. */
void wordsteps_print(unsigned steps, char out[WORDSTEPS_TEXT_MAX]);
int wordsteps_parse(unsigned *steps, struct str names, struct llmos_error *err);

/* What a tokenizer.json says.  LLMOS_EUNSUPPORTED: something that is not one of the steps. */
int wordsteps_read(unsigned *steps, struct jdoc_ref tokenizer, struct llmos_error *err);
/* What a tokenizer_config.json says, for a folder that has no tokenizer.json. */
unsigned wordsteps_of_config(struct jdoc_ref config);

#endif
