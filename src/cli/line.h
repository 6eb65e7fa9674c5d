/* SPDX-License-Identifier: Apache-2.0 */
/* line.h - a line from the user: edited and remembered on a terminal, plain from a pipe.
 *
 * Over libedit.  The history lies in the user's state folder, mode 0600, because it holds what was
 * asked; it is read at the start and written after each line, so nothing is lost with a window. */
#ifndef CLI_LINE_H
#define CLI_LINE_H

#include "base/buf.h"

struct line_input;

enum line_result { LINE_END, LINE_TEXT, LINE_INTERRUPTED };

#define LINE_MAX_BYTES (4u << 20)

/* history_path may be NULL: nothing is kept.  A history that cannot be read or made is no error. */
int line_open(struct line_input **in, const char *program, const char *history_path,
              struct llmos_error *err);
void line_close(struct line_input *in); /* NULL is fine */

/* Replaces *text with the next line, without its newline.  A line that ends in a backslash goes on
 * in the next one.  prompt: shown on a terminal.  Negative: LLMOS_ELIMIT, LLMOS_ENOMEM,
 * LLMOS_EIO. */
int line_read(struct line_input *in, const char *prompt, struct buf *text, struct llmos_error *err);

#endif
