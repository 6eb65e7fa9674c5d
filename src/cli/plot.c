/* SPDX-License-Identifier: Apache-2.0 */
/* plot.c - see plot.h */
#include "cli/plot.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* In pixels. */
#define WIDTH        760
#define LEFT         84
#define RIGHT        24
#define HEAD         74 /* title and legend */
#define PANEL_HEIGHT 210
#define PANEL_GAP    50
#define FOOT         70
#define LEGEND_Y     54
#define INNER_WIDTH  (WIDTH - LEFT - RIGHT)

/* Okabe & Ito 2008: told apart by people who do not see all colours. */
static const char *const colours[PLOT_SERIES_MAX] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                     "#e69f00", "#56b4e9", "#f0e442", "#000000"};

static void put_text_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            buf_puts(out, "&amp;");
        else if (*text == '<')
            buf_puts(out, "&lt;");
        else if (*text == '>')
            buf_puts(out, "&gt;");
        else if ((unsigned char)*text >= ' ') /* XML has no other control characters */
            buf_putc(out, *text);
    }
}

static void put_text(struct buf *out, double x, double y, const char *anchor, const char *more,
                     const char *text)
{
    buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>", x, y, anchor, more);
    put_text_escaped(out, text);
    buf_puts(out, "</text>\n");
}

static void put_line(struct buf *out, double x1, double y1, double x2, double y2,
                     const char *colour)
{
    buf_printf(out,
               "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
               "stroke-width=\"1\"/>\n",
               x1, y1, x2, y2, colour);
}

double plot_step(double most)
{
    double power = pow(10, floor(log10(most)));

    for (int i = -1; i <= 0; i++) {
        static const double factors[] = {1, 2, 5};

        for (unsigned f = 0; f < 3; f++) {
            double step = factors[f] * power * (i ? 0.1 : 1);

            if (most / step <= 8)
                return step;
        }
    }
    return power;
}

static bool is_there(double y)
{
    return isfinite(y) && y >= 0;
}

static double most_of(const struct plot *p, const struct plot_panel *panel)
{
    double most = 0;

    for (unsigned s = 0; s < panel->series_count; s++)
        for (unsigned i = 0; i < p->points; i++)
            if (is_there(panel->series[s].y[i]) && panel->series[s].y[i] > most)
                most = panel->series[s].y[i];
    return most > 0 ? most : 1;
}

static double x_at(const struct plot *p, unsigned i)
{
    double first = p->x[0], last = p->x[p->points - 1], share = 0.5;

    if (last > first)
        share = p->x_is_log ? log(p->x[i] / first) / log(last / first)
                            : (p->x[i] - first) / (last - first);
    return LEFT + INNER_WIDTH * (0.04 + 0.92 * share); /* no point on the frame */
}

static void put_head(struct buf *out, const struct plot *p)
{
    double height = HEAD + p->panel_count * (PANEL_HEIGHT + PANEL_GAP) - PANEL_GAP + FOOT;
    const struct plot_panel *first = &p->panels[0];
    double x = LEFT;

    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" "
               "viewBox=\"0 0 %d %.0f\" font-family=\"sans-serif\" font-size=\"13\" "
               "fill=\"#222222\">\n<title>",
               WIDTH, height, WIDTH, height);
    put_text_escaped(out, p->title);
    buf_printf(out, "</title>\n<rect width=\"%d\" height=\"%.0f\" fill=\"#ffffff\"/>\n", WIDTH,
               height);
    put_text(out, LEFT, 28, "start", " font-size=\"16\" font-weight=\"bold\"", p->title);
    for (unsigned s = 0; s < first->series_count; s++) {
        const char *name = first->series[s].name;

        buf_printf(out,
                   "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"%s\" "
                   "stroke-width=\"2\"/>\n<circle cx=\"%.1f\" cy=\"%d\" r=\"3.5\" fill=\"%s\"/>\n",
                   x, LEGEND_Y - 4, x + 26, LEGEND_Y - 4, colours[s], x + 13, LEGEND_Y - 4,
                   colours[s]);
        put_text(out, x + 32, LEGEND_Y, "start", "", name);
        x += 32 + 7.5 * (double)strlen(name) + 24; /* about as wide as letters are */
    }
}

static void put_y_axis(struct buf *out, const struct plot_panel *panel, double top, double most,
                       double high)
{
    double step = plot_step(most);

    for (int i = 0; i * step <= high * 1.0001; i++) {
        double y = top + PANEL_HEIGHT * (1 - i * step / high);
        char label[32];

        snprintf(label, sizeof(label), "%g", i * step);
        put_line(out, LEFT, y, WIDTH - RIGHT, y, i ? "#e4e4e4" : "#222222");
        put_text(out, LEFT - 8, y + 4.5, "end", "", label);
    }
    buf_printf(out, "<text transform=\"translate(22 %.1f) rotate(-90)\" text-anchor=\"middle\">",
               top + PANEL_HEIGHT / 2.0);
    put_text_escaped(out, panel->unit);
    buf_puts(out, "</text>\n");
    put_text(out, LEFT, top - 9, "start", " font-weight=\"bold\"", panel->title);
}

static void put_x_axis(struct buf *out, const struct plot *p, double bottom, bool is_last)
{
    double right = -1; /* end of the last label */

    for (unsigned i = 0; i < p->points; i++) {
        double x = x_at(p, i), half;
        char label[32];

        snprintf(label, sizeof(label), "%g", p->x[i]);
        half = 4.0 * (double)strlen(label);
        put_line(out, x, bottom, x, bottom + 5, "#222222");
        if (x - half <= right + 6) /* they would run into each other */
            continue;
        put_text(out, x, bottom + 20, "middle", "", label);
        right = x + half;
    }
    if (is_last)
        put_text(out, LEFT + INNER_WIDTH / 2.0, bottom + 44, "middle", "", p->x_title);
}

static void put_series(struct buf *out, const struct plot *p, const struct plot_series *s,
                       const char *colour, double top, double high)
{
    bool in_line = false;

    buf_puts(out, "<path d=\"");
    for (unsigned i = 0; i < p->points; i++) {
        if (is_there(s->y[i]))
            buf_printf(out, "%s%.1f %.1f",
                       in_line ? " L"
                       : i     ? " M"
                               : "M",
                       x_at(p, i), top + PANEL_HEIGHT * (1 - s->y[i] / high));
        in_line = is_there(s->y[i]);
    }
    buf_printf(out, "\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", colour);
    for (unsigned i = 0; i < p->points; i++)
        if (is_there(s->y[i]))
            buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x_at(p, i),
                       top + PANEL_HEIGHT * (1 - s->y[i] / high), colour);
}

void plot_put(struct buf *out, const struct plot *p)
{
    assert(p->points >= 1 && p->points <= PLOT_POINTS_MAX && p->panel_count >= 1 &&
           p->panel_count <= PLOT_PANELS_MAX);
    put_head(out, p);
    for (unsigned k = 0; k < p->panel_count; k++) {
        const struct plot_panel *panel = &p->panels[k];
        double top = HEAD + 12 + k * (double)(PANEL_HEIGHT + PANEL_GAP), most = most_of(p, panel);
        double step = plot_step(most), high = ceil(most / step - 1e-9) * step;

        put_y_axis(out, panel, top, most, high);
        put_x_axis(out, p, top + PANEL_HEIGHT, k + 1 == p->panel_count);
        for (unsigned s = 0; s < panel->series_count; s++)
            put_series(out, p, &panel->series[s], colours[s], top, high);
    }
    buf_puts(out, "</svg>\n");
}
