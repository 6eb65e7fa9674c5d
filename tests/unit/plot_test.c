/* SPDX-License-Identifier: Apache-2.0 */
/* plot_test.c - a picture that any reader of SVG accepts, with all that was given. */
#include "test.h"

#include "cli/plot.h"

#define NOTHING ((double)NAN)

static struct plot two_panels(void)
{
    struct plot p = {.title = "135m <q8_0> & more",
                     .x_title = "threads",
                     .x = {1, 2, 4},
                     .points = 3,
                     .panel_count = 2};

    p.panels[0] = (struct plot_panel){"prefill", "tokens/s", {{"llmos", {100, 190, 350}}}, 1};
    p.panels[1] = (struct plot_panel){
        "decode", "tokens/s", {{"llmos", {10, 18, NOTHING}}, {"peer", {9, -1, 21}}}, 2};
    return p;
}

static char *draw(const struct plot *p)
{
    static struct buf out;

    buf_fini(&out);
    buf_init(&out, 1 << 20);
    plot_put(&out, p);
    CHECK(!out.bad);
    return out.at;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
        n++;
    return n;
}

TEST(plot_closes_every_element_it_opens)
{
    struct plot p = two_panels();
    const char *names[64];
    size_t depth = 0;

    for (const char *at = strchr(draw(&p), '<'); at; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');

        CHECK(end && !memchr(at + 1, '<', (size_t)(end - at - 1)));
        if (at[1] == '/') {
            CHECK(depth > 0);
            depth--;
            CHECK(strncmp(names[depth], at + 2, (size_t)(end - at - 2)) == 0);
        } else if (end[-1] != '/') {
            CHECK(depth < 64);
            names[depth++] = at + 1;
        }
    }
    CHECK_INT(depth, 0);
}

TEST(plot_escapes_texts)
{
    struct plot p = two_panels();
    const char *svg = draw(&p);

    CHECK(strstr(svg, "135m &lt;q8_0&gt; &amp; more"));
    CHECK(!strstr(svg, "<q8_0>"));
}

TEST(plot_draws_each_point_and_leaves_out_what_is_not_there)
{
    struct plot p = two_panels();
    const char *svg = draw(&p);

    /* 3 + 2 + 2 points, and one circle in the legend */
    CHECK_INT(count(svg, "<circle"), 8);
    CHECK_INT(count(svg, "<path"), 3);
    CHECK_INT(count(svg, " L"), 3); /* two pieces of the first line, one of the second */
    CHECK(!strstr(svg, "nan"));
}

TEST(plot_survives_one_point_and_no_values)
{
    struct plot p = two_panels();

    p.points = 1;
    p.panels[1].series[0].y[0] = p.panels[1].series[1].y[0] = NOTHING;
    p.x_is_log = true;
    CHECK(!strstr(draw(&p), "nan"));
}

TEST(plot_ticks_are_round_numbers)
{
    static const double most[] = {0.013, 1, 1.7, 8, 9, 63, 350, 1234, 99999};

    CHECK_NEAR(plot_step(8), 1, 1e-12);
    CHECK_NEAR(plot_step(63), 10, 1e-12);
    CHECK_NEAR(plot_step(350), 50, 1e-12);
    for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
        double ticks = most[i] / plot_step(most[i]);

        CHECK(ticks >= 3 && ticks <= 8.0001);
    }
}
