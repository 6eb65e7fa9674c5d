/* SPDX-License-Identifier: Apache-2.0 */
/* speed.c - see speed.h */
#include "cli/speed.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/plot.h"
#include "cli/render.h"
#include "cli/table.h"

#include <fcntl.h>
#include <math.h>
#include <time.h>

#define PREFILL "prefill_tokens_per_second"
#define DECODE  "decode_tokens_per_second"
#define NOTHING ((double)NAN) /* not measured */

static const struct speed_sweep sweeps[] = {
    {"threads", "threads", "threads", "THREADS", false},
    {"batch", "sequences", "sequences side by side", "SEQUENCES", true},
    {"context", "depth", "tokens of context before what is measured", "DEPTH", true},
};

const struct speed_sweep *speed_sweep(const char *name)
{
    for (size_t i = 0; i < sizeof(sweeps) / sizeof(sweeps[0]); i++)
        if (strcmp(sweeps[i].name, name) == 0)
            return &sweeps[i];
    return NULL;
}

/* NOTHING where it is absent. */
static double number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);

    return json_is_number(v) ? json_number_value(v) : NOTHING;
}

static const char *text(const json_t *object, const char *key)
{
    const char *v = json_string_value(json_object_get(object, key));

    return v ? v : "";
}

/* ---- shares ---- */

/* The part of a second that the operations of one token take at the limit; NOTHING: no limit known.
 */
static double seconds_at_limit(const json_t *p)
{
    double bf16 = number(p, "limit_bf16_gflop_per_second");
    const double limits[] = {number(p, "limit_int8_gop_per_second"),
                             bf16 > 0 ? bf16 : number(p, "limit_f32_gflop_per_second"),
                             number(p, "limit_f32_gflop_per_second")};
    const double operations[] = {number(p, "prefill_int8_operations_per_token"),
                                 number(p, "prefill_bf16_operations_per_token"),
                                 number(p, "prefill_f32_operations_per_token")};
    double seconds = 0;

    for (int i = 0; i < 3; i++)
        if (operations[i] > 0)
            seconds += limits[i] > 0 ? operations[i] / (limits[i] * 1e9) : NOTHING;
    return seconds > 0 ? seconds : NOTHING;
}

static int add_number(json_t *object, const char *key, double v, struct llmos_error *err)
{
    if (isfinite(v) && json_object_set_new(object, key, json_real(v)) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory for the result");
    return 0;
}

int speed_add_shares(json_t *p, struct llmos_error *err)
{
    double read = number(p, "limit_read_gb_per_second") * 1e9;
    double decode = number(p, DECODE) * number(p, "decode_bytes_per_token");
    int rc =
        add_number(p, "prefill_share_of_compute", number(p, PREFILL) * seconds_at_limit(p), err);

    return rc < 0 ? rc
                  : add_number(p, "decode_share_of_read", read > 0 ? decode / read : NOTHING, err);
}

/* ---- tables ---- */

static void put_speed(struct table *t, double v)
{
    if (isfinite(v))
        table_cellf(t, "%.*f", v < 100 ? 2 : 1, v);
    else
        table_cell(t, STR("-"));
}

static void put_percent(struct table *t, double share)
{
    if (isfinite(share))
        table_cellf(t, "%.0f %%", share * 100);
    else
        table_cell(t, STR("-"));
}

/* Without what changes from point to point. */
static void put_head(const json_t *p, const struct speed_sweep *sweep, struct buf *out)
{
    static const char *const words[][2] = {
        {"file", ""},
        {"architecture", "  "},
        {"file_type", " "},
        {"backend", "  backend "},
        {"packed", "  packed "},
        {"kv_type", "  cache "},
        {"threads", "  threads "},
        {"prompt_tokens", "  prompt "},
        {"generated_tokens", "  generate "},
        {"depth", "  depth "},
        {"sequences", "  sequences "},
        {"repeat", "  repeat "},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const json_t *value = json_object_get(p, words[i][0]);

        if (!value || (sweep && strcmp(words[i][0], sweep->key) == 0))
            continue;
        buf_puts(out, words[i][1]);
        render_cell(words[i][0], value, out);
    }
    buf_putc(out, '\n');
}

static void put_limit(const json_t *p, const char *key, const char *what, const char *unit,
                      struct buf *out)
{
    double v = number(p, key);

    if (v > 0)
        buf_printf(out, "%s %.*f %s", what, v < 100 ? 1 : 0, v, unit);
}

static void put_limits(const json_t *p, struct buf *out)
{
    buf_puts(out, "  limits of these threads together:");
    put_limit(p, "limit_read_gb_per_second", " read", "GB/s", out);
    put_limit(p, "limit_int8_gop_per_second", ", int8", "GOP/s", out);
    put_limit(p, "limit_bf16_gflop_per_second", ", bf16", "GFLOP/s", out);
    put_limit(p, "limit_f32_gflop_per_second", ", f32", "GFLOP/s", out);
    buf_putc(out, '\n');
}

static void put_row(struct table *t, const json_t *p, const char *what, const char *key,
                    const char *share, const char *of)
{
    double part = number(p, share);

    table_cell(t, str_of(what));
    put_speed(t, number(p, key));
    if (isfinite(part))
        table_cellf(t, "tokens/s, %.0f %% of what %s", part * 100, of);
    else
        table_cell(t, STR("tokens/s"));
}

static void put_other(struct table *t, const json_t *p, const char *what, const char *key,
                      double factor, const char *unit)
{
    table_cell(t, str_of(what));
    put_speed(t, number(p, key) * factor);
    table_cell(t, str_of(unit));
}

static void put_own(const json_t *p, struct buf *out)
{
    struct table t;

    table_init(&t);
    table_column(&t, NULL, false);
    table_column(&t, NULL, true);
    table_column(&t, NULL, false);
    put_row(&t, p, "prefill", PREFILL, "prefill_share_of_compute", "multiplying allows");
    put_row(&t, p, "decode", DECODE, "decode_share_of_read", "reading the weights allows");
    put_other(&t, p, "first token", "time_to_first_token_ms", 1, "ms");
    put_other(&t, p, "load", "load_ms", 1, "ms");
    put_other(&t, p, "memory, weights included", "memory_bytes", 1.0 / (1 << 20), "MiB");
    table_put(&t, "  ", out);
    table_fini(&t);
}

static void put_comparison(const json_t *p, const json_t *peers, struct buf *out)
{
    static const char *const rows[2][3] = {{"prefill", PREFILL, "prefill_ratio"},
                                           {"decode", DECODE, "decode_ratio"}};
    struct table t;
    const json_t *peer;
    size_t i;

    table_init(&t);
    table_column(&t, "TOKENS/S", false);
    table_column(&t, "llmos", true);
    json_array_foreach((json_t *)(uintptr_t)peers, i, peer)
    {
        table_column(&t, text(peer, "name"), true);
        table_column(&t, "llmos/it", true);
    }
    for (int r = 0; r < 2; r++) {
        table_cell(&t, str_of(rows[r][0]));
        put_speed(&t, number(p, rows[r][1]));
        json_array_foreach((json_t *)(uintptr_t)peers, i, peer)
        {
            put_speed(&t, number(peer, rows[r][1]));
            put_speed(&t, number(peer, rows[r][2]));
        }
    }
    buf_putc(out, '\n');
    table_put(&t, "  ", out);
    table_fini(&t);
}

void speed_put_point(const json_t *p, struct buf *out)
{
    const json_t *peers = json_object_get(p, "peers");

    put_head(p, NULL, out);
    put_own(p, out);
    put_limits(p, out);
    if (json_array_size(peers) > 0)
        put_comparison(p, peers, out);
}

static void put_sweep_columns(struct table *t, const json_t *first, const struct speed_sweep *sweep,
                              struct buf *titles)
{
    const json_t *peer;
    size_t i;

    table_column(t, sweep->column, true);
    table_column(t, "PREFILL", true);
    table_column(t, "OF LIMIT", true);
    table_column(t, "DECODE", true);
    table_column(t, "OF LIMIT", true);
    json_array_foreach(json_object_get(first, "peers"), i, peer)
    {
        buf_printf(&titles[2 * i], "%s PREFILL", text(peer, "name"));
        buf_printf(&titles[2 * i + 1], "%s DECODE", text(peer, "name"));
        table_column(t, buf_str(&titles[2 * i]).at, true);
        table_column(t, buf_str(&titles[2 * i + 1]).at, true);
    }
}

void speed_put_sweep(const json_t *points, const struct speed_sweep *sweep, struct buf *out)
{
    struct buf titles[TABLE_COLUMNS_MAX];
    const json_t *p, *peer;
    struct table t;
    size_t i, k;

    for (i = 0; i < TABLE_COLUMNS_MAX; i++)
        buf_init(&titles[i], 1024);
    table_init(&t);
    put_sweep_columns(&t, json_array_get(points, 0), sweep, titles);
    json_array_foreach((json_t *)(uintptr_t)points, i, p)
    {
        table_cellf(&t, "%.0f", number(p, sweep->key));
        put_speed(&t, number(p, PREFILL));
        put_percent(&t, number(p, "prefill_share_of_compute"));
        put_speed(&t, number(p, DECODE));
        put_percent(&t, number(p, "decode_share_of_read"));
        json_array_foreach(json_object_get(p, "peers"), k, peer)
        {
            put_speed(&t, number(peer, PREFILL));
            put_speed(&t, number(peer, DECODE));
        }
    }
    put_head(json_array_get(points, 0), sweep, out);
    table_put(&t, "  ", out);
    table_fini(&t);
    for (i = 0; i < TABLE_COLUMNS_MAX; i++)
        buf_fini(&titles[i]);
}

/* ---- plots ---- */

static void add_series(struct plot_panel *panel, const char *name, const json_t *points,
                       const char *key, size_t peer)
{
    struct plot_series *s = &panel->series[panel->series_count++];
    const json_t *p;
    size_t i;

    s->name = name;
    json_array_foreach((json_t *)(uintptr_t)points, i, p)
    {
        const json_t *of = peer ? json_array_get(json_object_get(p, "peers"), peer - 1) : p;

        if (i < PLOT_POINTS_MAX)
            s->y[i] = number(of, key);
    }
}

void speed_put_plot(const json_t *points, const struct speed_sweep *sweep, struct buf *out)
{
    static const char *const panels[2][2] = {{"prefill", PREFILL}, {"decode", DECODE}};
    const json_t *first = json_array_get(points, 0), *peers = json_object_get(first, "peers"), *p;
    CLEANUP(buf) struct buf title = {.at = NULL};
    struct plot plot = {.x_title = sweep->title, .x_is_log = sweep->is_log, .panel_count = 2};
    size_t i;

    buf_init(&title, 4096);
    buf_printf(&title, "%s %s on %s", text(first, "file"), text(first, "file_type"),
               text(first, "cpu"));
    plot.title = buf_str(&title).at;
    json_array_foreach((json_t *)(uintptr_t)points, i, p)
    {
        if (plot.points < PLOT_POINTS_MAX)
            plot.x[plot.points++] = number(p, sweep->key);
    }
    for (int k = 0; k < 2; k++) {
        struct plot_panel *panel = &plot.panels[k];

        panel->title = panels[k][0];
        panel->unit = "tokens/s";
        add_series(panel, "llmos", points, panels[k][1], 0);
        for (i = 0; i < json_array_size(peers) && i + 1 < PLOT_SERIES_MAX; i++)
            add_series(panel, text(json_array_get(peers, i), "name"), points, panels[k][1], i + 1);
    }
    plot_put(out, &plot);
}

/* ---- CSV ---- */

#define COLUMNS                                                                    \
    "date,version,cpu,threads,model,type,prompt,generate,depth,sequences,who,"     \
    "prefill_tokens_per_second,decode_tokens_per_second,prefill_share_of_compute," \
    "decode_share_of_read,limit_read_gb_per_second,limit_int8_gop_per_second,"     \
    "limit_bf16_gflop_per_second,limit_f32_gflop_per_second\n"

/* As RFC 4180 quotes. */
static void put_field(struct buf *out, const char *field)
{
    buf_putc(out, '"');
    for (; *field; field++) {
        if (*field == '"')
            buf_putc(out, '"');
        buf_putc(out, (unsigned char)*field < ' ' ? ' ' : *field);
    }
    buf_puts(out, "\",");
}

static void put_value(struct buf *out, double v, const char *end)
{
    if (isfinite(v))
        buf_printf(out, "%.6g", v);
    buf_puts(out, end);
}

/* who: a peer, or the point itself. */
static void put_csv_line(struct buf *out, const json_t *p, const json_t *who, const char *date)
{
    static const char *const counts[] = {"prompt_tokens", "generated_tokens", "depth", "sequences"};
    static const char *const rest[] = {"prefill_share_of_compute",    "decode_share_of_read",
                                       "limit_read_gb_per_second",    "limit_int8_gop_per_second",
                                       "limit_bf16_gflop_per_second", "limit_f32_gflop_per_second"};

    buf_printf(out, "%s,", date);
    put_field(out, text(who, "version"));
    put_field(out, text(p, "cpu"));
    put_value(out, number(p, "threads"), ",");
    put_field(out, text(p, "file"));
    put_field(out, text(p, "file_type"));
    for (int i = 0; i < 4; i++)
        put_value(out, number(p, counts[i]), ",");
    put_field(out, who == p ? "llmos" : text(who, "name"));
    put_value(out, number(who, PREFILL), ",");
    put_value(out, number(who, DECODE), ",");
    for (int i = 0; i < 6; i++)
        put_value(out, i < 2 && who != p ? NOTHING : number(p, rest[i]), i < 5 ? "," : "\n");
}

static void put_csv(struct buf *out, const json_t *points)
{
    char date[32];
    time_t now = time(NULL);
    struct tm utc;
    const json_t *p, *peer;
    size_t i, k;

    gmtime_r(&now, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_array_foreach((json_t *)(uintptr_t)points, i, p)
    {
        put_csv_line(out, p, p, date);
        json_array_foreach(json_object_get(p, "peers"), k, peer) put_csv_line(out, p, peer, date);
    }
}

/* 1: the file begins with our columns; 0: it is empty. */
static int check_columns(int fd, const char *path, struct llmos_error *err)
{
    char first[sizeof(COLUMNS) - 1];
    ssize_t n = pread(fd, first, sizeof(first), 0);

    if (n < 0)
        return fail_errno(err, "cannot read '%s'", path);
    if (n > 0 && (n < (ssize_t)sizeof(first) || memcmp(first, COLUMNS, sizeof(first)) != 0))
        return fail(err, LLMOS_EINVAL, "'%s' has other columns than we write; name another file",
                    path);
    return n > 0;
}

int speed_append_csv(const char *path, const json_t *points, struct llmos_error *err)
{
    CLEANUP(fd) int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    CLEANUP(buf) struct buf lines = {.at = NULL};
    int rc;

    if (fd < 0)
        return fail_errno(err, "cannot write '%s'", path);
    rc = check_columns(fd, path, err);
    if (rc < 0)
        return rc;
    buf_init(&lines, 1 << 20);
    if (rc == 0)
        buf_puts(&lines, COLUMNS);
    put_csv(&lines, points);
    rc = buf_check(&lines, "the lines to append", err);
    if (rc == 0 && file_write_all(fd, lines.at, lines.len) < 0)
        return fail_errno(err, "cannot write '%s'", path);
    return rc;
}
