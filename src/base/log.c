/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - see log.h */
#include "base/log.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum log_level most = LOG_INFO;
static log_sink sink;
static void *sink_cookie;

void log_set_level(enum log_level level)
{
    most = level;
}

void log_set_sink(log_sink new_sink, void *cookie)
{
    sink = new_sink;
    sink_cookie = cookie;
}

bool log_debug_on(const char *module)
{
    const char *list = getenv("LLMOS_DEBUG");
    size_t n = strlen(module);

    while (list && *list) {
        size_t len = strcspn(list, ",");

        if ((len == n && memcmp(list, module, n) == 0) || (len == 3 && memcmp(list, "all", 3) == 0))
            return true;
        list += len + (list[len] == ',');
    }
    return false;
}

void log_event(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"};
    char line[2048];
    va_list args;
    int n, head;

    if (level > most && level != LOG_DEBUG_LEVEL)
        return;
    head = snprintf(line, sizeof(line), "%s%s ", getenv("JOURNAL_STREAM") ? priorities[level] : "",
                    names[level]);
    va_start(args, format);
    n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, args);
    va_end(args);
    n = head + (n < 0 ? 0 : n);
    if (n > (int)sizeof(line) - 2)
        n = (int)sizeof(line) - 2;
    for (int i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    if (sink) {
        line[n] = '\0';
        sink(level, line, sink_cookie);
        return;
    }
    line[n] = '\n';
    /* One write, so that lines of several threads do not mix.  Nobody is left to tell if it fails.
     */
    if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
        return;
}
