/* SPDX-License-Identifier: Apache-2.0 */
/* halt.c - see halt.h */
#include "cli/halt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t asked, count;

static void remember(int number)
{
    /* The second Ctrl-C must not be lost behind a first that nobody heeds; the first SIGTERM must
     * not be overwritten by a Ctrl-C. */
    if (asked != SIGTERM)
        asked = number;
    count++;
}

void halt_catch(void)
{
    struct sigaction a = {.sa_handler = remember}; /* no SA_RESTART: waiting calls return */

    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGHUP, &a, NULL);
}

int halt_asked(void)
{
    return asked;
}

unsigned halt_count(void)
{
    return (unsigned)count;
}

void halt_forget(void)
{
    asked = 0;
}

int halt_or_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    sigset_t ours, before;
    int n = 0;

    /* Held back until ppoll lets them through: a signal between the question and the waiting would
     * be waited out. */
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    sigprocmask(SIG_BLOCK, &ours, &before);
    while (!asked) {
        n = ppoll(&p, 1, NULL, &before);
        if (n > 0 || (n < 0 && errno != EINTR))
            break;
    }
    if (asked)
        n = 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return n;
}
