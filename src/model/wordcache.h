/* SPDX-License-Identifier: Apache-2.0 */
/* wordcache.h - what short words became, for the time of one text: most words of a text have been
 * there before.
 *
 * Up to 900 KB, of which the system gives only what is touched, and none for texts so short that it
 * would cost more than it saves.  A word that hashes to the place of another takes it.  One thread.
 */
#ifndef MODEL_WORDCACHE_H
#define MODEL_WORDCACHE_H

#include "base/mem.h"
#include "base/str.h"

#include <stdint.h>

#define WORDCACHE_COUNT    16384 /* 2^14: see wordcache_at */
#define WORDCACHE_BYTES    16    /* longer words are not kept */
#define WORDCACHE_IDS      7     /* nor those of more tokens */
#define WORDCACHE_TEXT_MIN 256

struct word {
    uint64_t text[WORDCACHE_BYTES / 8]; /* the bytes, then zeros */
    uint8_t length, count;              /* length 0: not known yet */
    int32_t ids[WORDCACHE_IDS];
};

/* *words for a text of this length, NULL if it is short; -1: no memory.  Free with mem_free. */
static inline int wordcache_create(struct word **words, size_t length)
{
    *words = length < WORDCACHE_TEXT_MIN ? NULL : mem_zalloc(WORDCACHE_COUNT, sizeof(**words));
    return length < WORDCACHE_TEXT_MIN || *words ? 0 : -1;
}

/* The place of this text: with its tokens if length is not 0, else to be filled, length last.
 * NULL if it cannot be kept. */
static inline struct word *wordcache_at(struct word *words, struct str text)
{
    uint64_t part[WORDCACHE_BYTES / 8] = {0}, h;
    struct word *word;

    if (!words || text.len > WORDCACHE_BYTES)
        return NULL;
    memcpy(part, text.at, text.len);
    h = (part[0] ^ (part[1] * 0xff51afd7ed558ccdu)) * 0x9e3779b97f4a7c15u;
    word = &words[h >> 50];
    if (word->length == text.len && word->text[0] == part[0] && word->text[1] == part[1])
        return word;
    word->length = 0;
    memcpy(word->text, part, sizeof(part));
    return word;
}

/* What text became, if that is few enough; word may be NULL. */
static inline void wordcache_keep(struct word *word, struct str text, const int32_t *ids, size_t n)
{
    if (!word || n > WORDCACHE_IDS)
        return;
    memcpy(word->ids, ids, n * sizeof(*ids));
    word->count = (uint8_t)n;
    word->length = (uint8_t)text.len;
}

#endif
