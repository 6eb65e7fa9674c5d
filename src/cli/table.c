/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - see table.h */
#include "cli/table.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "cli/screen.h"

#include <assert.h>
#include <inttypes.h>

#define CELLS_BYTES_MAX (64u << 20) /* 100 thousand tensors with long names */

void table_init(struct table *t)
{
    *t = (struct table){.columns = 0};
    buf_init(&t->cells, CELLS_BYTES_MAX);
}

void table_fini(struct table *t)
{
    buf_fini(&t->cells);
}

void table_column(struct table *t, const char *title, bool right)
{
    assert(t->columns < TABLE_COLUMNS_MAX && t->filled == 0);
    t->titles[t->columns] = title;
    t->right[t->columns++] = right;
}

/* Drops characters at the end until TABLE_CELL_MAX are left. */
static void shorten(struct buf *cells, size_t start)
{
    size_t count = 0;

    for (size_t i = start; i < cells->len; i++) {
        if (((unsigned char)cells->at[i] & 0xc0) == 0x80)
            continue;
        if (++count == TABLE_CELL_MAX - 2) {
            size_t rest = utf8_count((struct str){cells->at + i, cells->len - i});

            if (rest <= 3)
                return;
            cells->len = i;
            buf_puts(cells, "...");
            return;
        }
    }
}

void table_cell(struct table *t, struct str text)
{
    size_t start = t->cells.len;

    screen_put_line(&t->cells, (struct str){text.at, text.len < 4096 ? text.len : 4096});
    shorten(&t->cells, start);
    buf_putc(&t->cells, '\0');
    t->filled++;
}

void table_cellf(struct table *t, const char *format, ...)
{
    CLEANUP(buf) struct buf text = {.at = NULL};
    va_list args;

    buf_init(&text, 65536);
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    if (text.bad)
        t->cells.bad = true;
    table_cell(t, buf_str(&text));
}

static void put_padded(struct buf *out, struct str text, size_t width, bool right, bool last)
{
    size_t n = utf8_count(text), pad = n < width ? width - n : 0;

    if (right)
        buf_printf(out, "%*s", (int)pad, "");
    buf_put(out, text.at, text.len);
    if (!right && !last)
        buf_printf(out, "%*s", (int)pad, "");
}

/* cell: NULL for the titles. */
static void put_row(const struct table *t, const char **cell, const size_t *widths,
                    const char *indent, struct buf *out)
{
    buf_puts(out, indent);
    for (unsigned c = 0; c < t->columns; c++) {
        struct str text = str_of(cell ? *cell : t->titles[c]);
        bool last = c + 1 == t->columns;

        put_padded(out, text, widths[c], t->right[c], last);
        if (cell)
            *cell += text.len + 1;
        if (!last)
            buf_puts(out, "  ");
    }
    while (out->len > 0 && out->at[out->len - 1] == ' ') /* an empty cell at the end */
        out->at[--out->len] = '\0';
    buf_putc(out, '\n');
}

void table_put(const struct table *t, const char *indent, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    unsigned rows = t->columns ? t->filled / t->columns : 0;
    const char *cell = t->cells.at;

    if (t->cells.bad || t->columns == 0) {
        out->bad = out->bad || t->cells.bad;
        return;
    }
    for (unsigned c = 0; c < t->columns; c++)
        widths[c] = t->titles[0] ? utf8_count(str_of(t->titles[c])) : 0;
    for (unsigned i = 0; i < rows * t->columns; i++) {
        struct str text = str_of(cell);
        size_t n = utf8_count(text);

        if (n > widths[i % t->columns])
            widths[i % t->columns] = n;
        cell += text.len + 1;
    }
    if (t->titles[0])
        put_row(t, NULL, widths, indent, out);
    cell = t->cells.at;
    for (unsigned row = 0; row < rows; row++)
        put_row(t, &cell, widths, indent, out);
}

void put_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned unit = 0;

    while (v >= 1024 && unit < 6) {
        v /= 1024;
        unit++;
    }
    buf_printf(out, unit && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[unit]);
}

void put_count(struct buf *out, uint64_t count)
{
    static const char *const units[] = {"", " K", " M", " B", " T"};
    double v = (double)count;
    unsigned unit = 0;

    while (v >= 1000 && unit < 4) {
        v /= 1000;
        unit++;
    }
    buf_printf(out, unit && v < 99.95 ? "%.1f%s" : "%.0f%s", v, units[unit]);
}
