/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_date.c - see jinja_date.h */
#include "model/jinja_date.h"

#include <inttypes.h>

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days before the year since year 0, in which February 29 is the last day of a year that begins in
 * March. */
static int64_t days_before(int64_t year)
{
    return year * 365 + floor_divide(year, 4) - floor_divide(year, 100) + floor_divide(year, 400);
}

void jinja_date_of(int64_t seconds, struct tm *out)
{
    int64_t day = floor_divide(seconds, 86400), second = seconds - day * 86400, year, rest;
    int month;

    *out = (struct tm){.tm_hour = (int)(second / 3600),
                       .tm_min = (int)(second / 60 % 60),
                       .tm_sec = (int)(second % 60),
                       .tm_wday = (int)(((day + 4) % 7 + 7) % 7)};
    day += 719468; /* from March 1 of year 0 to 1970 */
    year = floor_divide(day * 400, 146097);
    while (days_before(year) > day)
        year--;
    while (days_before(year + 1) <= day)
        year++;
    rest = day - days_before(year);
    month = (int)((5 * rest + 2) / 153); /* from March: 31 30 31 30 31 31 30 31 30 31 31 28 */
    out->tm_mday = (int)(rest - (153 * month + 2) / 5 + 1);
    out->tm_mon = (month + 2) % 12;
    year += month >= 10;
    out->tm_year = (int)(year - 1900);
    out->tm_yday = (int)(day - days_before(year - 1) - 306); /* from March 1 to January 1 */
}

static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};

/* flag: '-' no padding, '_' blanks, '0' zeros, 0 as `pad` says. */
static void put_number(struct buf *out, int v, int width, char pad, char flag)
{
    if (flag == '-')
        width = 0;
    if (flag == '_' || (flag == 0 && pad == ' '))
        buf_printf(out, "%*d", width, v);
    else
        buf_printf(out, "%0*d", width, v);
}

static const struct {
    char letter;
    const char *format;
} composed[] = {
    {'c', "%a %b %e %H:%M:%S %Y"},
    {'D', "%m/%d/%y"},
    {'F', "%Y-%m-%d"},
    {'R', "%H:%M"},
    {'T', "%H:%M:%S"},
    {'x', "%m/%d/%y"},
    {'X', "%H:%M:%S"},
    {'r', "%I:%M:%S %p"},
};

/* False: there is no such number. */
static bool put_part(struct buf *out, char letter, char flag, const struct tm *d)
{
    const struct {
        char letter, pad;
        int width, value;
    } parts[] = {
        {'d', '0', 2, d->tm_mday},
        {'e', ' ', 2, d->tm_mday},
        {'H', '0', 2, d->tm_hour},
        {'k', ' ', 2, d->tm_hour},
        {'I', '0', 2, d->tm_hour % 12 ? d->tm_hour % 12 : 12},
        {'l', ' ', 2, d->tm_hour % 12 ? d->tm_hour % 12 : 12},
        {'j', '0', 3, d->tm_yday + 1},
        {'m', '0', 2, d->tm_mon + 1},
        {'M', '0', 2, d->tm_min},
        {'S', '0', 2, d->tm_sec},
        {'y', '0', 2, (d->tm_year + 1900) % 100},
        {'Y', '0', 1, d->tm_year + 1900},
        {'C', '0', 2, (d->tm_year + 1900) / 100},
        {'w', '0', 1, d->tm_wday},
        {'u', '0', 1, d->tm_wday ? d->tm_wday : 7},
        {'U', '0', 2, (d->tm_yday + 7 - d->tm_wday) / 7},
        {'W', '0', 2, (d->tm_yday + 7 - (d->tm_wday + 6) % 7) / 7},
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].letter != letter)
            continue;
        put_number(out, parts[i].value, parts[i].width, parts[i].pad, flag);
        return true;
    }
    return false;
}

static bool put_word(struct buf *out, char letter, const struct tm *d)
{
    const char *day = days[d->tm_wday % 7], *month = months[d->tm_mon % 12];

    switch (letter) {
    case 'A':
        buf_puts(out, day);
        return true;
    case 'a':
        buf_put(out, day, 3);
        return true;
    case 'B':
        buf_puts(out, month);
        return true;
    case 'b':
    case 'h':
        buf_put(out, month, 3);
        return true;
    case 'p':
        buf_puts(out, d->tm_hour < 12 ? "AM" : "PM");
        return true;
    case '%':
    case 'n':
    case 't':
        buf_putc(out, letter == 'n' ? '\n' : letter == 't' ? '\t' : '%');
        return true;
    case 'Z':
    case 'z':
        return true;
    default:
        return false;
    }
}

static bool put_composed(struct buf *out, char letter, const struct tm *d)
{
    for (size_t i = 0; i < sizeof(composed) / sizeof(composed[0]); i++) {
        if (composed[i].letter != letter)
            continue;
        jinja_date_put(out, str_of(composed[i].format), d);
        return true;
    }
    return false;
}

void jinja_date_put(struct buf *out, struct str format, const struct tm *date)
{
    for (size_t i = 0; i < format.len; i++) {
        size_t from = i;
        char flag = 0;

        if (format.at[i] != '%' || i + 1 == format.len) {
            buf_putc(out, format.at[i]);
            continue;
        }
        i++;
        if (i + 1 < format.len && memchr("-_0", format.at[i], 3))
            flag = format.at[i++];
        if (!put_part(out, format.at[i], flag, date) && !put_word(out, format.at[i], date) &&
            !put_composed(out, format.at[i], date))
            buf_put(out, format.at + from, i + 1 - from);
    }
}
