/* SPDX-License-Identifier: Apache-2.0 */
/* fail.c - see fail.h */
#include "base/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *llmos_error_name(int code)
{
    switch (code) {
#define NAME(name, number, text) \
    case number:                 \
        return text;
        LLMOS_ERRORS(NAME)
#undef NAME
    default:
        return "unknown";
    }
}

/* Bytes of the UTF-8 character at s, 0 if it is not one. */
static size_t character_length(const unsigned char *s)
{
    size_t n = s[0] < 0x80             ? 1
               : (s[0] & 0xe0) == 0xc0 ? 2
               : (s[0] & 0xf0) == 0xe0 ? 3
               : (s[0] & 0xf8) == 0xf0 ? 4
                                       : 0;

    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) /* also stops at the terminating zero */
            return 0;
    return n;
}

/* Names out of hostile files reach terminals and logs through here: no escape sequences, no broken
 * UTF-8. */
static void clean(char *text)
{
    for (size_t i = 0; text[i];) {
        size_t n = character_length((const unsigned char *)text + i);
        if (n == 0 || (unsigned char)text[i] < 0x20 || text[i] == 0x7f ||
            (n == 2 && (unsigned char)text[i] == 0xc2 && (unsigned char)text[i + 1] < 0xa0)) {
            text[i] = '?';
            if (n == 2)
                text[i + 1] = '?';
            n = n ? n : 1;
        }
        i += n;
    }
}

static void put(struct llmos_error *err, const char *text)
{
    size_t room = sizeof(err->text) - 1;
    size_t length = strlen(text);

    if (length > room) {
        length = room - 3;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
        memmove(err->text, text, length);
        memcpy(err->text + length, "...", 4);
    } else {
        memmove(err->text, text, length + 1);
    }
    clean(err->text);
}

int fail(struct llmos_error *err, int code, const char *format, ...)
{
    char text[1024];
    va_list args;

    if (!err)
        return code;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    err->code = code;
    put(err, text);
    return code;
}

static int code_of_errno(int number)
{
    switch (number) {
    case ENOMEM:
        return LLMOS_ENOMEM;
    case ENOENT:
        return LLMOS_ENOTFOUND;
    case EACCES:
    case EPERM:
        return LLMOS_EDENIED;
    case EINVAL:
        return LLMOS_EINVAL;
    case EPIPE:
    case ECONNRESET:
        return LLMOS_ECLOSED;
    default:
        return LLMOS_EIO;
    }
}

int fail_errno(struct llmos_error *err, const char *format, ...)
{
    int number = errno;
    int code = code_of_errno(number);
    char text[1024];
    char reason[128];
    va_list args;
    int n;

    if (!err)
        return code;
    va_start(args, format);
    n = vsnprintf(text, sizeof(text) / 2, format, args);
    va_end(args);
    n = n < 0 ? 0 : n >= (int)sizeof(text) / 2 ? (int)sizeof(text) / 2 - 1 : n;
    snprintf(text + n, sizeof(text) - (size_t)n, ": %s",
             strerror_r(number, reason, sizeof(reason)));
    err->code = code;
    put(err, text);
    return code;
}

int fail_while(struct llmos_error *err, int rc, const char *format, ...)
{
    char text[1024];
    va_list args;
    int n;

    if (!err)
        return rc;
    va_start(args, format);
    n = vsnprintf(text, sizeof(text) / 2, format, args);
    va_end(args);
    n = n < 0 ? 0 : n >= (int)sizeof(text) / 2 ? (int)sizeof(text) / 2 - 1 : n;
    snprintf(text + n, sizeof(text) - (size_t)n, ": %s", err->text);
    err->code = rc;
    put(err, text);
    return rc;
}
