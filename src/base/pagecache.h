/* SPDX-License-Identifier: Apache-2.0 */
/* pagecache.h - how a file lies in the page cache.
 *
 * What is read through a map that asks for large pages (file_map) comes in large ones, where the
 * file system can: one walk through page tables for 2 MiB instead of 4 KiB, which reads weights a
 * quarter faster.  But what the system takes back and somebody reads again may come in small ones,
 * and then stays in them. */
#ifndef BASE_PAGECACHE_H
#define BASE_PAGECACHE_H

#include <stdint.h>

/* Of a file that lies mostly in large pages, drops what lies in small ones, so that whoever maps it
 * next reads that again and gets large ones; what somebody has mapped stays.  The bytes that lay in
 * small pages; 0 also where the system does not say how they lie (before Linux 6.7).  Of a file
 * that the caller could write, nothing is read that is not in the cache; of others the system does
 * not say what is, and their pieces may come in.  A file that shrinks meanwhile does no harm.  fd:
 * of a regular file, for reading; any thread, which may wait for the disk. */
uint64_t pagecache_gather(int fd);

#endif
