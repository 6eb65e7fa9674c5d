/* SPDX-License-Identifier: Apache-2.0 */
/* thoughtformat.h - in which form a model thinks before it answers, by what stands in its chat
 * template.
 *
 *     template holds                            the form
 *     <|channel|> and <|message|>               harmony
 *     [THINK]                                   mistral
 *     </think> and <response>                   granite
 *     <|START_THINKING|>, <|START_RESPONSE|>    command
 *     <|START_THINKING|> and <|START_TEXT|>     cohere2
 *     </seed:think>                             seed
 *     </think>                                  think
 *
 * The first that fits.  Whoever reads answers (sched/thought.h) knows the forms by these names.
 * Any thread. */
#ifndef MODEL_THOUGHTFORMAT_H
#define MODEL_THOUGHTFORMAT_H

#include "base/str.h"

/* "" for a template that shows no thoughts, or writes them in a form that is not above. */
const char *thoughtformat_of(struct str template);

#endif
