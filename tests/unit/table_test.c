/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include "base/mem.h"
#include "test.h"

TEST(table_aligns_columns_and_cleans_cells)
{
    struct table t;
    CLEANUP(buf) struct buf out = {.at = NULL};

    buf_init(&out, 10000);
    table_init(&t);
    table_column(&t, "NAME", false);
    table_column(&t, "SIZE", true);
    table_column(&t, "NOTE", false);
    table_cell(&t, STR("gr\xc3\xbc\xc3\x9f"
                       "e"));
    table_cellf(&t, "%d", 7);
    table_cell(&t, STR("a\nb\033[2J"));
    table_cell(&t, STR("x"));
    table_cellf(&t, "%d", 123456);
    table_cell(&t, STR(""));
    table_cell(&t, STR("an incomplete row"));
    table_put(&t, "> ", &out);
    table_fini(&t);
    CHECK_STR(out.at, "> NAME     SIZE  NOTE\n"
                      "> gr\xc3\xbc\xc3\x9f"
                      "e       7  a b\xef\xbf\xbd[2J\n"
                      "> x      123456\n");
}

TEST(table_cuts_a_cell_that_is_too_long)
{
    struct table t;
    CLEANUP(buf) struct buf out = {.at = NULL};
    char text[1000];

    memset(text, 'x', sizeof(text));
    buf_init(&out, 10000);
    table_init(&t);
    table_column(&t, NULL, false);
    table_cell(&t, (struct str){text, TABLE_CELL_MAX});
    table_cell(&t, (struct str){text, TABLE_CELL_MAX + 1});
    table_put(&t, "", &out);
    table_fini(&t);
    CHECK_INT(out.len, 2 * (TABLE_CELL_MAX + 1));
    CHECK(strncmp(out.at + out.len - 5, "x...\n", 5) == 0);
    CHECK(out.at[TABLE_CELL_MAX - 1] == 'x');
}

static const char *bytes(uint64_t v)
{
    static char space[64];
    struct buf b = {.at = space, .room = sizeof(space), .limit_bytes = sizeof(space) - 1};

    put_bytes(&b, v);
    return space;
}

TEST(table_shows_sizes_as_people_read_them)
{
    CHECK_STR(bytes(0), "0 B");
    CHECK_STR(bytes(1023), "1023 B");
    CHECK_STR(bytes(1024), "1.0 KiB");
    CHECK_STR(bytes(1536), "1.5 KiB");
    CHECK_STR(bytes(200ull << 20), "200 MiB");
    CHECK_STR(bytes(UINT64_MAX), "16.0 EiB");
}

TEST(table_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        struct table t;
        struct buf out;

        buf_init(&out, 10000);
        table_init(&t);
        table_column(&t, "A", false);
        table_column(&t, "B", true);
        for (int i = 0; i < 20; i++)
            table_cellf(&t, "cell %d", i);
        table_put(&t, "", &out);
        CHECK(out.bad == mem_failed());
        table_fini(&t);
        buf_fini(&out);
    }
}
