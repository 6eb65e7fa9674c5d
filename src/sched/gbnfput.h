/* SPDX-License-Identifier: Apache-2.0 */
/* gbnfput.h - parts of grammars (GBNF) that several grammars are made of.  Any thread. */
#ifndef SCHED_GBNFPUT_H
#define SCHED_GBNFPUT_H

#include "base/buf.h"

/* A grammar among others: all its rules get the prefix, which ends with a dash. */
void gbnfput_renamed(struct buf *out, struct str grammar, const char *prefix);

#define GBNFPUT_WORD_MAX 64 /* characters */

/* The rule `name`, and others that begin so: any text in which the word does not stand, nor U+0000,
 * which JSON that we read may not have.  The word has two characters or more, and the first comes
 * in it once. */
void gbnfput_without(struct buf *out, const char *name, const char *word);

#endif
