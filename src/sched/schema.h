/* SPDX-License-Identifier: Apache-2.0 */
/* schema.h - what an answer must be, as a user says it, made the grammar (GBNF) that an engine
 * takes.
 *
 * A JSON schema (draft 2020-12): type (one or several), enum, const, anyOf, oneOf (each branch
 * without what another one holds for, where that can be said), allOf, $ref within the schema,
 * recursion included, not, if/then/else; properties, required, additionalProperties,
 * patternProperties, propertyNames, min/maxProperties, dependentRequired, dependentSchemas; items,
 * prefixItems, min/maxItems, contains with its counts, uniqueItems of listed values; minLength,
 * maxLength, pattern, format, together as well; minimum, maximum, their exclusive forms and
 * multipleOf, counted in decimal digits.  What a schema does not say is answered as the strict
 * modes of the usual servers do: properties come in the order of the schema, none but those that
 * are named unless additionalProperties or patternProperties is there, arrays of prefixItems have
 * these items; more than eight values of uniqueItems come in the order of their enum.  So every
 * text of the grammar is valid, but not every valid text is one of the grammar.  A keyword that
 * cannot be kept is an error that names it and where it stands; annotations (title, description,
 * default, and all words that JSON Schema does not know, but those that look mistyped) change
 * nothing, likewise formats; a branch of anyOf that nothing is valid for is left out.
 *
 * Refused: unevaluatedItems and unevaluatedProperties but for true and false, $dynamicRef,
 * uniqueItems of items that are not listed, a minProperties that properties without a
 * name would have to fill, and what cannot be turned round in a `not` or `if` (oneOf, format,
 * single places of arrays, patternProperties and the like).
 *
 * It is here because both programs that ask engines need it, it needs nothing but JSON, and the
 * engine must not have it: jansson is not linked where a hostile model could reach it.
 *
 * Recursion is bounded by the depth of the JSON, which json_parse bounds; size by a limit on the
 * grammar; automata (automaton.h) and looks at values by a number of steps.  Any thread. */
#ifndef SCHED_SCHEMA_H
#define SCHED_SCHEMA_H

#include "base/json.h"

#define SCHEMA_GRAMMAR_MAX (1u << 20) /* bytes: what an engine takes */

/* Each appends a whole grammar to out, which should be empty and bounded by SCHEMA_GRAMMAR_MAX.
 * LLMOS_EINVAL, LLMOS_EFORMAT, LLMOS_EUNSUPPORTED, LLMOS_ELIMIT or LLMOS_ENOMEM with a sentence. */
int schema_put(struct buf *out, const json_t *schema, struct llmos_error *err);
/* Of a schema that is a part of another one, where its references lead. */
int schema_put_within(struct buf *out, const json_t *schema, const json_t *root,
                      struct llmos_error *err);
int schema_put_object(struct buf *out, struct llmos_error *err); /* any JSON object */
int schema_put_regex(struct buf *out, struct str regex, struct llmos_error *err);
int schema_put_choice(struct buf *out, const struct str *choices, size_t count,
                      struct llmos_error *err);

/* --- values that a model writes as plain text: strings without quotes, others as JSON --- */

/* Types of values, as bits. */
#define SCHEMA_STRING 4u
#define SCHEMA_OTHERS 123u

unsigned schema_types(const json_t *schema, const json_t *root); /* that may be valid */
bool schema_has_type(unsigned types, const json_t *v);
/* A grammar of the strings of a schema, which takes no other values, as they are, but those in
 * which the word stands; it has no character that means something in a regular expression. */
int schema_put_text(struct buf *out, const json_t *schema, const json_t *root, const char *without,
                    struct llmos_error *err);

#endif
