/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c - see ask.h */
#include "cli/ask.h"

#include "base/file.h"
#include "base/mem.h"
#include "sched/schema.h"

#include <sys/random.h>

bool ask_hides_thoughts(const struct ask_options *o)
{
    return o->thoughts && strcmp(o->thoughts, "hide") == 0;
}

bool ask_wants_thoughts(const struct ask_options *o)
{
    return !o->thoughts || strcmp(o->thoughts, "off") != 0;
}

static int random_seed(uint64_t *seed, struct llmos_error *err)
{
    if (getrandom(seed, sizeof(*seed), 0) != (ssize_t)sizeof(*seed))
        return fail_errno(err, "cannot get a random seed; give one with --seed");
    *seed >>= 11; /* below 2^53: --json shows it, and JSON readers keep it exact */
    return 0;
}

/* The option's text, or the file that it names. */
static int read_schema(const char *given, struct buf *text, struct llmos_error *err)
{
    if (given[strspn(given, " \t\n")] != '{')
        return file_read(given, text, err);
    buf_puts(text, given);
    return buf_check(text, "the schema", err);
}

static int put_schema(const char *given, struct buf *grammar, struct llmos_error *err)
{
    const struct json_limits limits = JSON_LIMITS_INIT;
    CLEANUP(buf) struct buf text = {.limit_bytes = limits.bytes_max};
    json_t *schema = NULL;
    int rc = read_schema(given, &text, err);

    if (rc == 0)
        rc = json_parse(&schema, buf_str(&text), &limits, err);
    if (rc == 0)
        rc = schema_put(grammar, schema, err);
    json_decref(schema);
    return rc < 0 ? fail_while(err, rc, "--json-schema") : 0;
}

static int put_choices(const struct opt_list *choices, struct buf *grammar, struct llmos_error *err)
{
    struct str texts[OPT_LIST_MAX];

    for (unsigned i = 0; i < choices->count; i++)
        texts[i] = str_of(choices->at[i]);
    return schema_put_choice(grammar, texts, choices->count, err);
}

int ask_form(const struct ask_options *o, struct buf *grammar, struct llmos_error *err)
{
    int rc = 0;

    if (!!o->grammar + !!o->json_schema + !!o->regex + (o->choices.count > 0) > 1)
        return fail(err, LLMOS_EINVAL,
                    "--json-schema, --grammar, --regex and --choice exclude each other");
    buf_init(grammar, SCHEMA_GRAMMAR_MAX);
    if (o->grammar)
        rc = file_read(o->grammar, grammar, err);
    else if (o->json_schema)
        rc = put_schema(o->json_schema, grammar, err);
    else if (o->regex)
        rc = schema_put_regex(grammar, str_of(o->regex), err);
    else if (o->choices.count)
        rc = put_choices(&o->choices, grammar, err);
    if (rc == 0 && o->grammar && grammar->len == 0)
        rc = fail(err, LLMOS_EFORMAT, "grammar '%s' is empty", o->grammar);
    return rc;
}

int ask_fill(struct message_generate *g, const struct ask_options *o, struct buf *grammar,
             struct llmos_error *err)
{
    uint64_t seed = o->seed;

    if (o->stops.count > MESSAGE_STOPS_MAX)
        return fail(err, LLMOS_ELIMIT, "--stop was given %u times, at most %d are possible",
                    o->stops.count, MESSAGE_STOPS_MAX);
    for (unsigned i = 0; i < o->stops.count; i++) {
        g->stops[i] = str_of(o->stops.at[i]);
        if (g->stops[i].len > MESSAGE_STOP_BYTES_MAX)
            return fail(err, LLMOS_ELIMIT, "a --stop text has %zu bytes, at most %d are possible",
                        g->stops[i].len, MESSAGE_STOP_BYTES_MAX);
    }
    g->stop_count = o->stops.count;
    if (seed == ASK_SEED_RANDOM) {
        int rc = random_seed(&seed, err);

        if (rc < 0)
            return rc;
    }
    if (!grammar->limit_bytes) { /* the first time: the form stays */
        int rc = ask_form(o, grammar, err);

        if (rc < 0)
            return rc;
    }
    g->grammar = buf_str(grammar);
    g->seed = seed;
    g->max_tokens = o->max_tokens;
    g->temperature = o->temperature;
    g->top_k = o->top_k;
    g->top_p = o->top_p;
    g->min_p = o->min_p;
    g->repeat_penalty = o->repeat_penalty;
    g->repeat_last = o->repeat_last;
    g->presence_penalty = o->presence_penalty;
    g->frequency_penalty = o->frequency_penalty;
    return 0;
}
