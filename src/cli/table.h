/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - aligned columns of text, and numbers as people read them.
 *
 * Cells may come from a model file or a daemon: they are cleaned as for a terminal, whatever the
 * output is, because a newline in a cell would break the table. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "base/buf.h"

#define TABLE_COLUMNS_MAX 16
#define TABLE_CELL_MAX    200 /* characters; longer cells are cut and end in "..." */

struct table {
    struct buf cells; /* each ended by a zero byte, row by row */
    const char *titles[TABLE_COLUMNS_MAX];
    bool right[TABLE_COLUMNS_MAX]; /* numbers stand at the right */
    unsigned columns, filled;
};

void table_init(struct table *t);
void table_fini(struct table *t);
/* Before the first cell.  The title must live as long as the table. */
void table_column(struct table *t, const char *title, bool right);
void table_cell(struct table *t, struct str text);
void table_cellf(struct table *t, const char *format, ...) PRINTF_LIKE(2, 3);
/* Rows that are not complete are not shown.  Titles are left out if the first is NULL. */
void table_put(const struct table *t, const char *indent, struct buf *out);

/* "1.5 MiB", "812 B" */
void put_bytes(struct buf *out, uint64_t bytes);
/* "1.1 B", "260 K": counts in thousands */
void put_count(struct buf *out, uint64_t count);

#endif
