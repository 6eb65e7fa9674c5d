/* SPDX-License-Identifier: Apache-2.0 */
#include "base/paths.h"

#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

static void forget(void)
{
    unsetenv("LLMOS_SOCKET");
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("LLMOS_CACHE");
    unsetenv("HOME");
}

TEST(paths_socket_prefers_what_the_user_said)
{
    char path[200];

    forget();
    CHECK_INT(path_socket(path, sizeof(path), NULL), 0);
    if (geteuid() == 0)
        CHECK_STR(path, "/run/llmos/llmosd.sock");
    else
        CHECK(strncmp(path, "/tmp/llmos-", 11) == 0);
    setenv("XDG_RUNTIME_DIR", "relative/is/ignored", 1);
    CHECK_INT(path_socket(path, sizeof(path), NULL), 0);
    CHECK(path[0] == '/');
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    CHECK_INT(path_socket(path, sizeof(path), NULL), 0);
    CHECK_STR(path, "/run/user/7/llmos/llmosd.sock");
    setenv("LLMOS_SOCKET", "/a/b", 1);
    CHECK_INT(path_socket(path, sizeof(path), NULL), 0);
    CHECK_STR(path, "/a/b");
}

TEST(paths_socket_refuses_what_no_socket_can_be_called)
{
    struct llmos_error err = {0};
    char path[4096], given[200];

    forget();
    memset(given, 'x', sizeof(given) - 1);
    given[sizeof(given) - 1] = '\0';
    setenv("LLMOS_SOCKET", given, 1);
    CHECK_INT(path_socket(path, sizeof(path), &err), LLMOS_ELIMIT);
    CHECK_CONTAINS(err.text, "199 bytes, at most 107");
}

TEST(paths_state_follows_xdg_and_says_when_there_is_none)
{
    struct llmos_error err = {0};
    char path[200];

    forget();
    CHECK_INT(path_state(path, sizeof(path), &err), LLMOS_ENOTFOUND);
    setenv("HOME", "/home/me", 1);
    CHECK_INT(path_state(path, sizeof(path), &err), 0);
    CHECK_STR(path, "/home/me/.local/state/llmos");
    setenv("XDG_STATE_HOME", "/state", 1);
    CHECK_INT(path_state(path, sizeof(path), &err), 0);
    CHECK_STR(path, "/state/llmos");
    CHECK_INT(path_state(path, 5, &err), LLMOS_ELIMIT);
}

TEST(paths_cache_is_what_was_said_or_where_caches_are)
{
    struct llmos_error err = {0};
    char path[200];

    forget();
    setenv("LLMOS_CACHE", "/tmp/of-mine", 1);
    CHECK_INT(path_cache(path, sizeof(path), &err), 0);
    CHECK_STR(path, "/tmp/of-mine");
    CHECK_INT(path_cache(path, 5, &err), LLMOS_ELIMIT);
    setenv("LLMOS_CACHE", "relative", 1); /* ignored */
    setenv("HOME", "/home/me", 1);
    CHECK_INT(path_cache(path, sizeof(path), &err), 0);
    CHECK_STR(path, geteuid() == 0 ? "/var/cache/llmos" : "/home/me/.cache/llmos");
    setenv("XDG_CACHE_HOME", "/cache", 1);
    CHECK_INT(path_cache(path, sizeof(path), &err), 0);
    CHECK_STR(path, geteuid() == 0 ? "/var/cache/llmos" : "/cache/llmos");
}

TEST(paths_makes_parents_private_and_says_which_could_not_be_made)
{
    char root[] = "/tmp/llmos-paths-XXXXXX", path[300];
    struct llmos_error err = {0};
    struct stat st;

    CHECK(mkdtemp(root) != NULL);
    snprintf(path, sizeof(path), "%s/a/b/file", root);
    CHECK_INT(path_make_parents(path, &err), 0);
    CHECK_INT(path_make_parents(path, &err), 0);
    snprintf(path, sizeof(path), "%s/a/b", root);
    CHECK(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
    CHECK_INT(st.st_mode & 0777, 0700);
    CHECK_INT(path_make_parents("/proc/llmos/x/y", &err), LLMOS_ENOTFOUND);
    CHECK_CONTAINS(err.text, "cannot make the folder '/proc/llmos'");
    rmdir(path);
    snprintf(path, sizeof(path), "%s/a", root);
    rmdir(path);
    rmdir(root);
}
