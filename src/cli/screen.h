/* SPDX-License-Identifier: Apache-2.0 */
/* screen.h - what may reach a terminal, and the line that shows that something is happening.
 *
 * A model, a file or a daemon may be hostile: an escape sequence could retitle the window, rewrite
 * what was said before or type for the user.  So what they send is cleaned on its way to a
 * terminal: control characters except newline and tab, the C1 range, marks that turn the direction
 * of text around, and broken UTF-8 become U+FFFD.  Into a pipe or file it goes as it is. */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include "base/buf.h"

/* Cleans a stream of pieces: a character may be cut in two between them. */
struct screen_filter {
    char kept[4];
    size_t kept_len;
};

void screen_clean(struct screen_filter *f, struct str piece, struct buf *out);
void screen_clean_end(struct screen_filter *f, struct buf *out); /* what was kept is broken */

/* One cleaned line for a table cell or message: newlines and tabs become blanks. */
void screen_put_line(struct buf *out, struct str text);

unsigned screen_width(int fd); /* columns; OPT_WIDTH_PLAIN where it is no terminal */

/* "loading model.gguf ..." or a bar on standard error: only on a terminal, only after a moment, and
 * gone without a trace afterwards. */
struct spinner {
    bool on; /* standard error is a terminal that can erase */
    bool drawn;
    const char *what;
    uint64_t start_ns, last_ns;
    unsigned turn;
};

void spinner_start(struct spinner *s, const char *what);
void spinner_turn(struct spinner *s);                               /* call it often */
void spinner_bar(struct spinner *s, uint64_t done, uint64_t total); /* likewise */
void spinner_clear(struct spinner *s);

#endif
