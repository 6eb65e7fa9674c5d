/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_lex.h - a chat template as tokens: text, and what stands in {{ }} and {% %}.
 *
 * White space goes as transformers sets Jinja up: a line feed behind a block is dropped
 * (trim_blocks), so are blanks in front of one at the start of a line (lstrip_blocks), - strips
 * all,
 * + nothing.  Comments and raw blocks are dissolved here. */
#ifndef MODEL_JINJA_LEX_H
#define MODEL_JINJA_LEX_H

#include "model/jinja_value.h"

/* The longest published template has 40 000 bytes. */
#define JINJA_TEMPLATE_BYTES_MAX (256u << 10)

enum jinja_token_kind {
    TOKEN_TEXT,
    TOKEN_BLOCK, /* {% */
    TOKEN_BLOCK_END,
    TOKEN_PRINT, /* {{ */
    TOKEN_PRINT_END,
    TOKEN_NAME,
    TOKEN_CONST, /* a string or a number */
    TOKEN_OPERATOR,
    TOKEN_END,
};

/* An operator of one or two characters as a number. */
#define OP(a, b) ((unsigned)(a) | (unsigned)(b) << 8)

struct jinja_token {
    enum jinja_token_kind kind;
    unsigned op;
    uint32_t line;
    struct str text;          /* as it stands there, of a text what is left of it */
    struct jinja_value value; /* of a constant */
};

/* The tokens, in the store; the last one is TOKEN_END.  NULL: failed. */
struct jinja_token *jinja_lex(struct jinja_store *s, struct str source);

#endif
