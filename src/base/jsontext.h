/* SPDX-License-Identifier: Apache-2.0 */
/* jsontext.h - JSON for others, always well-formed, without a library: the engine writes with this
 * and links no parser that a hostile model could reach.  Any thread. */
#ifndef BASE_JSONTEXT_H
#define BASE_JSONTEXT_H

#include "base/buf.h"

/* Appends a string in quotes; broken UTF-8 becomes U+FFFD. */
void json_put_string(struct buf *out, struct str s);
/* Appends a number; what JSON cannot say (NaN, infinity) becomes the nearest thing: -9999 for
 * minus infinity and NaN, which is what clients of log-probabilities expect, and 9999. */
void json_put_number(struct buf *out, double v);
/* The same with the nine digits that name a float, and faster where there are many. */
void json_put_float(struct buf *out, float v);

#endif
