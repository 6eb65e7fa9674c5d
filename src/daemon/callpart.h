/* SPDX-License-Identifier: Apache-2.0 */
/* callpart.h - what the files share that read a call: toolcall.c the text around it, callobject.c
 * its JSON, calltags.c its tags.  Nobody else includes this. */
#ifndef DAEMON_CALLPART_H
#define DAEMON_CALLPART_H

#include "daemon/toolcall.h"

/* After a byte: more is needed; the call is whole; it is none. */
enum callpart { CALLPART_MORE, CALLPART_WHOLE, CALLPART_BROKEN };

/* --- toolcall.c --- */

/* Empty again; that memory failed is not forgotten. */
void toolcall_clear(struct toolcall_parser *p, struct buf *b);
void toolcall_tell(struct toolcall_parser *p, enum toolcall_kind kind, struct str text);
void toolcall_tell_begin(struct toolcall_parser *p);
/* The function of that name that was offered, NULL: none was. */
const struct toolcall_function *toolcall_find(const struct toolcall_parser *p, struct str name);

static inline bool callpart_is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* --- callobject.c: the byte stands at the end of held, unless arguments are being told --- */

void callobject_begin(struct toolcall_parser *p); /* behind its brace */
/* Only the arguments of that function. */
void callobject_begin_arguments(struct toolcall_parser *p, const struct toolcall_function *offered);
enum callpart callobject_byte(struct toolcall_parser *p, char c);

/* --- calltags.c: the byte stands at the end of held --- */

void calltags_begin(struct toolcall_parser *p); /* at the end of held */
enum callpart calltags_byte(struct toolcall_parser *p, char c);

#endif
