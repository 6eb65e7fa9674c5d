/* SPDX-License-Identifier: Apache-2.0 */
/* thought_fuzz.c - any bytes as what a model says: what is told does not depend on where the pieces
 * were cut, and outside of messages nothing but marks and blanks is lost.  The same bytes as a
 * grammar: one that is good is good behind a thought. */
#include "infer/grammar.h"
#include "sched/thought.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hear(void *cookie, bool is_thought, struct str text)
{
    struct buf *all = cookie;

    if (text.len == 0)
        abort();
    if (all[1].len != (size_t)is_thought) { /* what came last */
        buf_putc(&all[0], '\x01');
        buf_clear(&all[1]);
        buf_puts(&all[1], is_thought ? "t" : "");
    }
    buf_put(&all[0], text.at, text.len);
}

static void parse(struct buf *all, const struct thought_format *f, struct str text, size_t piece)
{
    struct thought_parser p = {.format = f, .hear = hear, .cookie = all};

    buf_init(&all[0], 1 << 24);
    buf_init(&all[1], 16);
    thought_init(&p);
    for (size_t at = 0; at < text.len; at += piece)
        thought_put(&p, (struct str){text.at + at, text.len - at < piece ? text.len - at : piece});
    thought_end(&p);
    if (!thought_is_good(&p) || p.held.room > 4 * THOUGHT_HELD_MAX)
        abort();
    if (all[0].len > text.len + 64 + text.len / 8)
        abort();
    thought_fini(&p);
    buf_fini(&all[1]);
}

static void wrap(const struct thought_format *f, struct str inner, bool is_content)
{
    struct llmos_error err = {0};
    struct grammar *g = NULL;
    struct buf all;

    if (inner.len > 4096 || grammar_compile(&g, inner, NULL) < 0)
        return;
    grammar_destroy(g);
    g = NULL;
    buf_init(&all, GRAMMAR_TEXT_MAX);
    thought_put_grammar(f, inner, is_content, &all);
    if (!all.bad && grammar_compile(&g, buf_str(&all), &err) == LLMOS_EFORMAT &&
        !strstr(err.text, "longer than")) /* a name of 250 bytes, with the prefix */
        abort();
    else if (g)
        grammar_destroy(g);
    buf_fini(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"think",   "mistral", "granite", "harmony",
                                          "command", "cohere2", "seed"};
    const struct thought_format *f;
    struct buf whole[2], cut[2];
    struct str text;

    if (size == 0)
        return 0;
    f = thought_format_of(str_of(formats[data[0] % (sizeof(formats) / sizeof(formats[0]))]));
    text = (struct str){(const char *)data + 1, size - 1};
    parse(whole, f, text, size);
    parse(cut, f, text, 1 + (data[0] >> 2 & 3));
    if (!str_eq(buf_str(&whole[0]), buf_str(&cut[0])))
        abort();
    wrap(f, text, data[0] & 128);
    buf_fini(&whole[0]);
    buf_fini(&cut[0]);
    return 0;
}
