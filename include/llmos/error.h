/* SPDX-License-Identifier: Apache-2.0 */
/* error.h - what went wrong, in one sentence for the person who must act.
 *
 * Every call of the library that can fail returns 0 (or a count) on success and one of the negative
 * codes below on failure.  The last parameter is the caller's struct llmos_error, which may be
 * NULL.  It is written only on failure, so it never holds stale text that a success has to clear.
 * Nothing is allocated: running out of memory can be reported like everything else.  Any thread may
 * use its own error. */
#ifndef LLMOS_ERROR_H
#define LLMOS_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LLMOS_API __attribute__((visibility("default")))
#else
#define LLMOS_API
#endif

/* The codes with the names that JSON output shows.  A new code goes to the end: the numbers are
 * part of the daemon-engine protocol. */
#define LLMOS_ERRORS(X)                                                                           \
    X(EINVAL, -1, "invalid")           /* the caller asked for something that makes no sense */   \
    X(ENOMEM, -2, "out_of_memory")     /* an allocation failed or a stated budget is too small */ \
    X(EIO, -3, "io")                   /* the system refused to read, write or map */             \
    X(EFORMAT, -4, "bad_format")       /* a file, frame or text breaks the rules of its format */ \
    X(ELIMIT, -5, "limit")             /* well-formed, but larger than we accept */               \
    X(EUNSUPPORTED, -6, "unsupported") /* well-formed, but a kind that we do not implement */     \
    X(ENOTFOUND, -7, "not_found")                                                                 \
    X(EBUSY, -8, "busy")     /* try again later: a queue or a pool is full */                     \
    X(EDENIED, -9, "denied") /* permission, or an isolation layer that is required is missing */  \
    X(ECANCELED, -10, "canceled")                                                                 \
    X(ECONTEXT, -11, "context_length_exceeded") /* the prompt does not fit the context */         \
    X(ECLOSED, -12, "closed")                   /* the other side is gone */                      \
    X(EINTERNAL, -13, "internal")

enum {
#define LLMOS_ERROR_ENUM(name, number, text) LLMOS_##name = number,
    LLMOS_ERRORS(LLMOS_ERROR_ENUM)
#undef LLMOS_ERROR_ENUM
};

struct llmos_error {
    int code; /* one of the above, 0 if nothing was reported yet */
    char
        text[252]; /* lower case, no full stop, zero-terminated, valid UTF-8 even when it was cut */
};

/* The short name of a code, "bad_format" for LLMOS_EFORMAT; "unknown" for anything else. */
LLMOS_API const char *llmos_error_name(int code);

#ifdef __cplusplus
}
#endif

#endif
