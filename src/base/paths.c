/* SPDX-License-Identifier: Apache-2.0 */
/* paths.c - see paths.h */
#include "base/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A relative value of an XDG variable is to be ignored, says their specification. */
static const char *absolute(const char *variable)
{
    const char *value = getenv(variable);

    return value && value[0] == '/' ? value : NULL;
}

int path_socket(char *path, size_t size, struct llmos_error *err)
{
    const char *given = getenv("LLMOS_SOCKET"), *runtime = absolute("XDG_RUNTIME_DIR");
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path);
    int n;

    if (given && *given)
        n = snprintf(path, size, "%s", given);
    else if (runtime)
        n = snprintf(path, size, "%s/llmos/llmosd.sock", runtime);
    else if (geteuid() == 0)
        n = snprintf(path, size, "/run/llmos/llmosd.sock");
    else
        n = snprintf(path, size, "/tmp/llmos-%u/llmosd.sock", (unsigned)geteuid());
    if (n < 0 || (size_t)n >= size || (size_t)n >= room)
        return fail(err, LLMOS_ELIMIT,
                    "the path of the daemon's socket has %d bytes, at most %zu are possible", n,
                    (size < room ? size : room) - 1);
    return 0;
}

int path_state(char *path, size_t size, struct llmos_error *err)
{
    const char *state = absolute("XDG_STATE_HOME"), *home = absolute("HOME");
    int n;

    if (state)
        n = snprintf(path, size, "%s/llmos", state);
    else if (home)
        n = snprintf(path, size, "%s/.local/state/llmos", home);
    else
        return fail(err, LLMOS_ENOTFOUND, "neither $XDG_STATE_HOME nor $HOME names a folder");
    if (n < 0 || (size_t)n >= size)
        return fail(err, LLMOS_ELIMIT, "the path of the state folder has %d bytes", n);
    return 0;
}

int path_cache(char *path, size_t size, struct llmos_error *err)
{
    const char *given = absolute("LLMOS_CACHE"), *cache = absolute("XDG_CACHE_HOME");
    const char *home = absolute("HOME");
    int n;

    if (given)
        n = snprintf(path, size, "%s", given);
    else if (geteuid() == 0)
        n = snprintf(path, size, "/var/cache/llmos");
    else if (cache)
        n = snprintf(path, size, "%s/llmos", cache);
    else if (home)
        n = snprintf(path, size, "%s/.cache/llmos", home);
    else
        return fail(err, LLMOS_ENOTFOUND,
                    "neither $LLMOS_CACHE nor $XDG_CACHE_HOME nor $HOME names a folder");
    if (n < 0 || (size_t)n >= size)
        return fail(err, LLMOS_ELIMIT, "the path of the cache has %d bytes", n);
    return 0;
}

int path_make_parents(const char *path, struct llmos_error *err)
{
    char folder[PATH_MAX];
    size_t length = strlen(path);

    if (length >= sizeof(folder))
        return fail(err, LLMOS_ELIMIT, "cannot make folders for a path of %zu bytes", length);
    memcpy(folder, path, length + 1);
    for (size_t i = 1; i < length; i++) {
        if (folder[i] != '/')
            continue;
        folder[i] = '\0';
        if (mkdir(folder, 0700) < 0 && errno != EEXIST && errno != EISDIR)
            return fail_errno(err, "cannot make the folder '%s'", folder);
        folder[i] = '/';
    }
    return 0;
}
