/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_date.h - the calendar for chat templates, without a time zone and without a file: what libc
 * has for it opens /etc/localtime, which a sealed engine may not. */
#ifndef MODEL_JINJA_DATE_H
#define MODEL_JINJA_DATE_H

#include "base/buf.h"

#include <time.h>

/* Seconds since 1970, UTC, in the Gregorian calendar. */
void jinja_date_of(int64_t seconds, struct tm *out);

/* Appends what strftime of the C locale makes of the format; conversions that it does not know stay
 * as they are.  Of a time in no zone: %Z and %z are empty, as in Python. */
void jinja_date_put(struct buf *out, struct str format, const struct tm *date);

#endif
