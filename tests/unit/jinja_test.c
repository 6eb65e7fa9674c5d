/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_test.c - chat templates: what Python's jinja2 says, what is bounded, and that what was said
 * stays said. */
#include "test.h"

#include "base/file.h"
#include "base/mem.h"
#include "model/jinja.h"
#include "model/jinja_date.h"
#include "model/jinja_json.h"

static const struct jinja_limits usual = JINJA_LIMITS_INIT;

/* A rendering with its store; the text is as long as that. */
struct rendering {
    struct jinja_store store;
    struct jinja_template *template;
    struct llmos_error err;
    struct jinja_str text;
    int rc;
};

static void start(struct rendering *r, const char *source, const struct jinja_limits *limits)
{
    *r = (struct rendering){.template = NULL};
    jinja_store_init(&r->store, limits, &r->err);
    r->rc = jinja_create(&r->template, str_of(source), &r->err);
}

static void finish(struct rendering *r)
{
    jinja_store_fini(&r->store);
    jinja_destroy(r->template);
}

static void render_json(struct rendering *r, const char *source, const char *json,
                        const struct jinja_limits *limits)
{
    start(r, source, limits);
    if (r->rc == 0)
        r->rc = jinja_render(r->template, &r->store, jinja_read_json(&r->store, str_of(json)),
                             &r->text);
}

static const char *rendered(const char *source, const char *json)
{
    static char text[4096];
    struct rendering r;

    render_json(&r, source, json, &usual);
    snprintf(text, sizeof(text), "%.*s", r.rc < 0 ? 250 : (int)r.text.len,
             r.rc < 0 ? r.err.text : r.text.at);
    finish(&r);
    return text;
}

#define CHECK_RENDERED(source, json, wanted) CHECK_STR(rendered((source), (json)), (wanted))

/* The code and, in a static place, the sentence of what must be refused. */
static const char *refused(const char *source, int code)
{
    static char text[256];
    struct rendering r;

    render_json(&r, source, "{}", &usual);
    snprintf(text, sizeof(text), "%s", r.err.text);
    finish(&r);
    CHECK_INT(r.rc, code);
    return text;
}

/* ---- as jinja2 ---- */

/* True if it is as jinja2 has it. */
static bool agrees(struct jinja_store *s, struct jinja_value variables, struct jinja_value vector)
{
    struct jinja_value *expected = jinja_get_name(s, vector, STR("expected"));
    const struct jinja_str *source = jinja_get_name(s, vector, STR("template"))->s;
    struct jinja_template *t = NULL;
    struct llmos_error err = {0};
    struct jinja_str out = {.len = 0};
    struct jinja_store store;
    int rc = jinja_create(&t, (struct str){source->at, source->len}, &err);
    bool same;

    jinja_store_init(&store, &usual, &err);
    if (rc == 0)
        rc = jinja_render(t, &store, variables, &out);
    same = expected ? rc == 0 && str_eq((struct str){out.at, out.len},
                                        (struct str){expected->s->at, expected->s->len})
                    : rc < 0 && err.text[0];
    if (!same)
        printf("# %.*s\n#   gives %.*s (%s)\n#   expected %.*s\n", STR_ARG(*source),
               (int)(rc == 0 ? out.len : 0), out.at, err.text, expected ? (int)expected->s->len : 7,
               expected ? expected->s->at : "refusal");
    jinja_store_fini(&store);
    jinja_destroy(t);
    return same;
}

TEST(jinja_writes_what_python_writes)
{
    const char *folder = getenv("LLMOS_SOURCE");
    char path[4096];
    struct jinja_store s;
    struct llmos_error err = {0};
    struct jinja_value all, vectors, variables;
    struct buf json;
    size_t wrong = 0;

    snprintf(path, sizeof(path), "%s/tests/data/jinja.json", folder ? folder : ".");
    buf_init(&json, 1 << 20);
    CHECK_INT(file_read(path, &json, &err), 0);
    jinja_store_init(&s, &usual, &err);
    all = jinja_read_json(&s, buf_str(&json));
    if (s.rc < 0)
        TEST_FAIL("%s", err.text);
    vectors = *jinja_get_name(&s, all, STR("vectors"));
    variables = *jinja_get_name(&s, all, STR("variables"));
    CHECK(vectors.list->count > 150);
    for (size_t i = 0; i < vectors.list->count; i++)
        wrong += !agrees(&s, variables, vectors.list->at[i]);
    CHECK_INT(wrong, 0);
    jinja_store_fini(&s);
    buf_fini(&json);
}

TEST(jinja_tells_the_time_it_is_given)
{
    struct rendering r;

    start(&r, "{{ strftime_now('%d %b %Y, %H:%M') }}", &usual);
    jinja_date_of(1721984400, &r.store.now);
    CHECK_INT(jinja_render(r.template, &r.store, jinja_dict(&r.store), &r.text), 0);
    CHECK(str_is((struct str){r.text.at, r.text.len}, "26 Jul 2024, 09:00"));
    finish(&r);
}

/* Every 11 days and a few seconds through five centuries, with the conversions that libc has too.
 */
TEST(jinja_has_the_calendar_of_libc)
{
    static const char format[] = "%a %A %b %B %d %-d %e %H %I %j %m %-m %M %p %S %y %Y %u %w %U %W "
                                 "%F %T %D %R %c %x %X %h %% %_d %0e %-I %k %l %C %r";
    struct buf ours;

    buf_init(&ours, 4096);
    for (int64_t t = -8000000000; t < 8000000000; t += 11 * 86400 + 12347) {
        time_t seconds = (time_t)t;
        struct tm theirs, date;
        char wanted[4096];

        gmtime_r(&seconds, &theirs);
        jinja_date_of(t, &date);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-y2k"
        strftime(wanted, sizeof(wanted), format, &theirs);
#pragma GCC diagnostic pop
        buf_clear(&ours);
        jinja_date_put(&ours, str_of(format), &date);
        CHECK_STR(ours.at, wanted);
    }
    buf_fini(&ours);
}

/* ---- sentences ---- */

TEST(jinja_says_in_which_line_what_is_wrong)
{
    CHECK_STR(refused("a\n\n{% if x %}", LLMOS_EFORMAT),
              "line 3 of the chat template: it ends where elif is expected");
    CHECK_STR(refused("a\n{{ 1 +\n }}", LLMOS_EFORMAT),
              "line 3 of the chat template: '}}' where an expression is expected");
    CHECK_STR(refused("{% if true %}\n{{ messages.x }}{% endif %}", LLMOS_EINVAL),
              "line 2 of the chat template: 'messages' is undefined");
    CHECK_STR(refused("{{ raise_exception('Roles must alternate') }}", LLMOS_EINVAL),
              "line 1 of the chat template: Roles must alternate");
    CHECK_STR(refused("\n{{ 'x'|frobnicate }}", LLMOS_EUNSUPPORTED),
              "line 2 of the chat template: there is no filter 'frobnicate'");
    CHECK_STR(refused("{% include 'x' %}", LLMOS_EFORMAT),
              "line 1 of the chat template: 'include' where a statement like 'if', 'for' or 'set' "
              "is expected");
    CHECK_CONTAINS(refused("{{ 9223372036854775807 + 1 }}", LLMOS_ELIMIT), "64 bits");
    CHECK_CONTAINS(refused("{{ -9223372036854775807 - 2 }}", LLMOS_ELIMIT), "64 bits");
    CHECK_CONTAINS(refused("{{ 10 ** 19 }}", LLMOS_ELIMIT), "64 bits");
    CHECK_CONTAINS(refused("{{ 99999999999999999999 }}", LLMOS_EFORMAT), "64 bits");
    CHECK_CONTAINS(refused("{{ {}.update({}) }}", LLMOS_EDENIED), "may not change a dict");
    CHECK_CONTAINS(refused("\xff", LLMOS_EFORMAT), "not UTF-8");
}

TEST(jinja_reads_json_and_says_where_it_is_none)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        {"", "byte 0"},
        {"{\"a\":1,}", "a key in quotes"},
        {"[1,]", "no value"},
        {"{\"a\" 1}", "colon"},
        {"[1 2]", "array has no end"},
        {"\"a", "string has no end"},
        {"\"a\nb\"", "control"},
        {"\"\\x\"", "backslash"},
        {"01", "no value"},
        {"1.", "point"},
        {"1e", "exponent"},
        {"{\"a\":1,\"a\":2}", "twice"},
        {"[] []", "follows"},
        {"18446744073709551616", "large"},
        {"1e999", "large"},
        {"nul", "no value"},
        {"\"\xff\"", "UTF-8"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct llmos_error err = {0};
        struct jinja_store s;

        jinja_store_init(&s, &usual, &err);
        jinja_read_json(&s, str_of(cases[i].json));
        CHECK_INT(s.rc, LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, cases[i].why);
        jinja_store_fini(&s);
    }
    CHECK_RENDERED("{{ x }}",
                   "{\"x\":[-0, 1e2, \"\\ud83c\\udf89\\u00e9\\n\\/\", \"\\ud83c\", null]}",
                   "[0, 100.0, '\xf0\x9f\x8e\x89\xc3\xa9\\n/', '\xef\xbf\xbd', None]");
}

/* ---- bounds ---- */

TEST(jinja_ends_what_would_never_end)
{
    static const struct {
        const char *source;
        int code;
    } cases[] = {
        {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
         LLMOS_ELIMIT},
        {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", LLMOS_ELIMIT},
        {"{{ 'x' * 10000000000 }}", LLMOS_ELIMIT},
        {"{{ [1] * 10000000000 }}", LLMOS_ELIMIT},
        {"{{ 'x'.ljust(10000000000) }}", LLMOS_ELIMIT},
        {"{{ 'x'|center(10000000000) }}", LLMOS_ELIMIT},
        {"{{ 'x'.zfill(10000000000) }}", LLMOS_ELIMIT},
        {"{{ 'a\nb'|indent(10000000000) }}", LLMOS_ELIMIT},
        {"{{ [1]|batch(10000000000, 'x')|list }}", LLMOS_ELIMIT},
        {"{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}"
         "{% endfor %}",
         LLMOS_ELIMIT},
        {"{% set ns = namespace(l=[]) %}{% for a in range(9999) %}{% set ns.l = [ns.l] %}{% endfor "
         "%}{{ ns.l }}",
         LLMOS_ELIMIT},
        {"{% set x = [] %}{% set _ = x.append(x) %}", LLMOS_EDENIED},
        {"{% set x = [1] %}{% set _ = x.pop() %}", LLMOS_EDENIED},
        {"{% for a in range(100000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }}{% endfor %}",
         LLMOS_ELIMIT},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rendering r;

        render_json(&r, cases[i].source, "{}", &usual);
        if (r.rc != cases[i].code)
            TEST_FAIL("%s gives %d: %s", cases[i].source, r.rc, r.err.text);
        CHECK(r.store.arena.used_bytes <= usual.memory_bytes);
        finish(&r);
    }
}

static void check_nested(const char *open, const char *middle, const char *close)
{
    struct rendering r;
    struct buf b;

    buf_init(&b, 4 << 20);
    for (int i = 0; i < 100000 / (int)strlen(open); i++)
        buf_puts(&b, open);
    buf_puts(&b, middle);
    for (int i = 0; i < 100000 / (int)strlen(open) && *close; i++)
        buf_puts(&b, close);
    render_json(&r, b.at, "{}", &usual);
    finish(&r);
    buf_fini(&b);
    if (r.rc != LLMOS_ELIMIT && r.rc != LLMOS_EFORMAT)
        TEST_FAIL("%s gives %d: %s", open, r.rc, r.err.text);
}

TEST(jinja_refuses_what_is_nested_too_deep)
{
    check_nested("{{ ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((", "", "");
    check_nested("{% if 1 %}", "", "");
    check_nested("{% for a in b %}", "", "");
    check_nested("{% macro a() %}", "", "");
    check_nested("{{ [", "", "");
    check_nested("{{ {1:", "", "");
    check_nested("{{ not ", "", "");
    check_nested("{{ - ", "", "");
    check_nested("{{ a if b else ", "", "");
    check_nested("{{ a(", "", "");
    {
        static const char *const starts[] = {
            "((((",   "[[[[",   "{1:{1:",       "----",      "a.a.a",    "a()()()", "a|a|a|",
            "1+1+1+", "a[a[a[", "1 if 1 else ", "a is a is", "not not ", "a~a~",    "a and a and "};

        for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
            struct rendering r;
            struct buf b;

            buf_init(&b, 4 << 20);
            buf_puts(&b, "{{ ");
            while (b.len < 200000)
                buf_puts(&b, starts[i]);
            render_json(&r, b.at, "{}", &usual);
            finish(&r);
            buf_fini(&b);
            CHECK(r.rc < 0 && r.err.text[0]);
        }
    }
}

TEST(jinja_keeps_to_the_limits_it_is_given)
{
    static const struct jinja_limits small = {1 << 20, 100, 10000, 50};
    struct rendering r;

    render_json(&r, "{% for a in range(1000) %}x{% endfor %}", "{}", &small);
    CHECK_INT(r.rc, LLMOS_ELIMIT);
    CHECK_CONTAINS(r.err.text, "100 bytes");
    finish(&r);
    render_json(&r, "{% for a in range(9999) %}{% set b = a * a %}{% endfor %}", "{}", &small);
    CHECK_INT(r.rc, LLMOS_ELIMIT);
    CHECK_CONTAINS(r.err.text, "more than 10000 steps");
    finish(&r);
    render_json(&r,
                "{% set x = 'x' * 100000 %}{% for a in range(99) %}{% set y = x + x %}{% endfor %}",
                "{}", &usual);
    CHECK_INT(r.rc, 0);
    finish(&r);
}

/* ---- what was said ---- */

/* The text with what was said in <>, "said" being the text of `x`, and each number it has. */
static const char *marked(const char *source)
{
    static char text[4096];
    struct rendering r;
    size_t n = 0;
    bool was = false;

    render_json(&r, source,
                "{\"x\":\"Said, 'it'\\n\",\"n\":42,\"m\":{\"k\":[\"v\",1]},\"r\":\"a\"}", &usual);
    if (r.rc < 0)
        TEST_FAIL("%s", r.err.text);
    for (size_t i = 0; i <= r.text.len; i++) {
        bool is = i < r.text.len && r.text.said && r.text.said[i];

        if (is != was)
            text[n++] = is ? '<' : '>';
        was = is;
        if (i < r.text.len)
            text[n++] = r.text.at[i];
    }
    text[n] = '\0';
    finish(&r);
    return text;
}

TEST(jinja_knows_what_was_said_through_every_operation)
{
    static const struct {
        const char *source, *marked;
    } cases[] = {
        {"a{{ x }}b", "a<Said, 'it'\n>b"},
        {"{{ 'a' + x + 'b' }}", "a<Said, 'it'\n>b"},
        {"{{ 'a' ~ x ~ 1 ~ n }}", "a<Said, 'it'\n>1<42>"},
        {"[{{ x|trim }}]{{ x.strip() }}!", "[<Said, 'it'>]<Said, 'it'>!"},
        {"{{ x[1:4] }}|{{ x[::-1] }}|{{ x[0] }}", "<aid>|<\n'ti' ,diaS>|<S>"},
        {"{{ x.split(', ')|join('+') }}", "<Said>+<'it'\n>"},
        {"{{ 'a.b'.replace('.', x[:4]) }}{{ x.replace('Said', 'S') }}", "a<Said>bS<, 'it'\n>"},
        {"{{ x|upper }}{{ x.title() }}", "<SAID, 'IT'\nSaid, 'It'\n>"},
        {"{{ x|tojson }}{{ m|tojson }}", "\"<Said, 'it'\\n>\"{\"<k>\": [\"<v>\", <1>]}"},
        {"{{ [x] }}{{ m }}", "[\"<Said, 'it'\\n>\"]{'<k>': ['<v>', <1>]}"},
        {"{{ x|indent(2, true) }}", "  <Said, 'it'>\n"},
        {"{{ x|e }}", "<Said, &#39;it&#39;\n>"},
        {"{{ '%s:%s'|format('a', x[:1]) }}{{ '{}'.format(x[:2]) }}", "a:<SSa>"},
        {"{% set y %}a{{ x[:1] }}{% endset %}{{ y }}b", "a<S>b"},
        {"{% macro f(a) %}({{ a }}){% endmacro %}{{ f(x[:2]) }}", "(<Sa>)"},
        {"{% filter upper %}a{{ x[:2] }}{% endfilter %}", "A<SA>"},
        {"{% for c in x[:3] %}{{ c }}-{% endfor %}", "<S>-<a>-<i>-"},
        {"{{ x * 2 }}{{ n + 1 }}{{ n * 1.0 }}{{ '7'|int }}{{ (x[:0] ~ n)|int }}",
         "<Said, 'it'\nSaid, 'it'\n4342.0>7<42>"},
        {"{{ {'a': '!'}[r] }}{{ '!' if x == r else '?' }}", "!?"},
        {"{{ x.partition(',')[0] }}{{ x.removeprefix('S').rstrip() }}", "<Saidaid, 'it'>"},
        {"{{ ['b', x]|sort|join }}{{ x.center(13, '*') }}", "b<Said, 'it'\n>*<Said, 'it'\n>*"},
        {"{{ m.items()|list }}", "[('<k>', ['<v>', <1>])]"},
        {"{{ x|truncate(4, true, '..', 0) }}{{ x|urlencode }}", "<Sa>..<Said%2C%20%27it%27%0A>"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_STR(marked(cases[i].source), cases[i].marked);
}

/* ---- failures ---- */

TEST(jinja_survives_every_failed_allocation)
{
    static const char source[] =
        "{% macro f(a, b=2) %}{{ a ~ b }}{% endmacro %}{% for m in x|sort %}{{ f(m)|upper }}"
        "{{ [m, {'k': m}]|tojson(indent=2) }}{{ m[::-1].split('b')|map('trim')|join('-') }}"
        "{{ '%s' % m }}{% endfor %}{% set y %}a{% endset %}{{ y|replace('a', 'b') }}";
    struct rendering r;

    EVERY_ALLOCATION_FAILS
    {
        render_json(&r, source, "{\"x\":[\"b\",\"abc\"]}", &usual);
        CHECK(r.rc == 0 || r.rc == LLMOS_ENOMEM);
        finish(&r);
    }
    CHECK_INT(r.rc, 0);
}
