/* SPDX-License-Identifier: Apache-2.0 */
/* halt.c - see halt.h */
#include "cli/halt.h"

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
