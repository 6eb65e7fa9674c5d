/* SPDX-License-Identifier: Apache-2.0 */
/* halt.h - Ctrl-C and SIGTERM as a question: was I asked to end? */
#ifndef CLI_HALT_H
#define CLI_HALT_H

/* From now on SIGINT, SIGTERM and SIGHUP interrupt system calls and are remembered. */
void halt_catch(void);
int halt_asked(void);      /* the signal's number, 0: none came */
unsigned halt_count(void); /* how often, ever */
void halt_forget(void);    /* it was heeded */

/* Waits until fd can be read: 1; 0: a signal came, also one that came just before.  Negative: -1
 * with errno. */
int halt_or_readable(int fd);

#endif
