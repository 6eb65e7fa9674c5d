/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line per event on standard error: "warn model restarts model=phi after_ms=200".
 *
 * Only programs call log_event; the library stays silent except for LOG_DEBUG, which
 * LLMOS_DEBUG=gguf,sched (or =all) opens module by module.  Prompts and keys are never logged;
 * their lengths are.  Control characters are replaced, so a value cannot forge a line.  Under
 * journald each line carries its priority.  Any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/fail.h"

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG_LEVEL };

typedef void (*log_sink)(enum log_level level, const char *line, void *cookie);

void log_event(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
void log_set_level(enum log_level most); /* default LOG_INFO */
void log_set_sink(log_sink sink,
                  void *cookie); /* NULL: standard error.  Not while other threads log */
bool log_debug_on(const char *module);

#define LOG_DEBUG(module, ...)                                  \
    do {                                                        \
        if (__builtin_expect(log_debug_on(module), 0))          \
            log_event(LOG_DEBUG_LEVEL, module " " __VA_ARGS__); \
    } while (0)

#endif
