/* SPDX-License-Identifier: Apache-2.0 */
/* plot.h - lines over one axis, as a picture in SVG that stands alone.
 *
 * One panel a quantity, below each other over the same horizontal axis: quantities of different
 * sizes do not flatten each other.  Every vertical axis begins at 0.  Plain elements and attributes
 * of SVG 1.1 only, no script, no style sheet, no font that must be there. */
#ifndef CLI_PLOT_H
#define CLI_PLOT_H

#include "base/buf.h"

#define PLOT_PANELS_MAX 4
#define PLOT_SERIES_MAX 8
#define PLOT_POINTS_MAX 64

struct plot_series {
    const char *name;
    double y[PLOT_POINTS_MAX]; /* NAN or below 0: no such point, the line has a gap */
};

struct plot_panel {
    const char *title, *unit; /* "prefill", "tokens/s" */
    struct plot_series series[PLOT_SERIES_MAX];
    unsigned series_count;
};

struct plot {
    const char *title, *x_title;
    double x[PLOT_POINTS_MAX]; /* rising */
    unsigned points;
    bool x_is_log; /* equal factors are equally far apart; all x are above 0 */
    struct plot_panel panels[PLOT_PANELS_MAX];
    unsigned panel_count;
};

/* Texts are escaped.  Series of the same place have the same colour in all panels, and the legend
 * names those of the first panel.  At least one point and one panel. */
void plot_put(struct buf *out, const struct plot *p);

/* The distance of ticks, 1, 2 or 5 times a power of ten, that parts [0, most] into 3 to 8. */
double plot_step(double most);

#endif
