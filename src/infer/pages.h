/* SPDX-License-Identifier: Apache-2.0 */
/* pages.h - the pages of the cache that a session has: first those of the tree (prefix.h), which it
 * shares and only reads, then its own.
 *
 * At the end of a page it looks whether the tree has the next one, and puts its own into the tree
 * when it is full; so sessions find each other's pages while both still run. */
#ifndef INFER_PAGES_H
#define INFER_PAGES_H

#include "infer/context.h"

/* In the tree, the domains of long sequences have it (llmos_session_set_domain: no other has). */
#define DOMAIN_LONG (UINT64_C(1) << 63)

/* All of them go back, the last one into the tree though it is not full. */
void pages_leave(struct llmos_session *s);
/* Pages behind `length` positions go back.  One of the tree that holds more is given up as well: it
 * cannot be written, and the next step finds a copy of its beginning (pages_copy_beginning). */
void pages_cut(struct llmos_session *s, uint32_t length);

/* Goes on behind the pages that others have computed of the same tokens. */
void pages_adopt(struct llmos_session *s);
/* Copies the beginning of a page that goes on differently.  It always pays: a position of a page is
 * copied in about a hundredth of the time in which a small model computes it. */
void pages_copy_beginning(struct llmos_session *s);
/* Full pages go into the tree, for others. */
void pages_share(struct llmos_session *s);
/* Takes pages for up to `wanted` more positions; returns for how many there is room. */
uint32_t pages_reserve(struct llmos_session *s, uint32_t wanted);
/* Does somebody compute, in this step, the page with which s would go on?  Then s waits for it: to
 * compute it twice would take as long and help nobody. */
bool pages_are_underway(const struct llmos_session *s);

#endif
