/* SPDX-License-Identifier: Apache-2.0 */
/* charsmap.h - SentencePiece's "precompiled_charsmap": what a text's characters are replaced by
 * before it is cut into pieces (NFKC and the like).
 *
 * A double-array trie (Yata, Darts-clone) of what is replaced, and the replacements, as they lie in
 * the file: untrusted, checked at every step.  Read-only; any thread. */
#ifndef MODEL_CHARSMAP_H
#define MODEL_CHARSMAP_H

#include "model/gguf.h"

struct charsmap {
    const unsigned char *units; /* 4 bytes each, little-endian; NULL: nothing is replaced */
    uint32_t unit_count;
    struct str texts; /* zero-terminated replacements */
};

/* From "tokenizer.ggml.precompiled_charsmap"; empty where there is none. */
int charsmap_read(struct charsmap *c, const struct gguf *g, struct llmos_error *err);

/* What the front of text (not empty) becomes, and how many of its bytes that stands for: the
 * longest entry, else a character as it is.  A byte that is no UTF-8 becomes U+FFFD. */
int charsmap_next(const struct charsmap *c, struct str text, struct str *part, size_t *used,
                  struct llmos_error *err);

#endif
