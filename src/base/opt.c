/* SPDX-License-Identifier: Apache-2.0 */
/* opt.c - see opt.h; the texts are made in optdoc.c */
#include "base/opt.h"

#include "base/near.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* getopt's values: options are numbered past every letter; these come first. */
enum { VALUE_HELP = 256, VALUE_VERSION, VALUE_MAN, VALUE_COMPLETION, VALUE_FIRST };

static bool takes_value(const struct opt *o)
{
    return o->type > OPT_TYPE_FLAG;
}

static bool is_option(const struct opt *o)
{
    return o->type != OPT_TYPE_GROUP;
}

static void *field(const struct opt *o, void *to)
{
    return (char *)to + o->at;
}

/* Digits alone: no sign, no blank, no octal, no hexadecimal. */
static bool whole_number(const char *text, const char **end, uint64_t *value)
{
    unsigned long long v;
    char *stop;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    v = strtoull(text, &stop, 10);
    if (errno)
        return false;
    *end = stop;
    *value = v;
    return true;
}

static bool parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    const char *end, *unit;
    uint64_t value;

    if (!whole_number(text, &end, &value))
        return false;
    if (*end && (unit = strchr(units, *end & ~0x20)) != NULL && *unit) {
        unsigned shift = 10 * (unsigned)(unit - units + 1);

        if (value > UINT64_MAX >> shift)
            return false;
        value <<= shift;
        end++;
        if (strcmp(end, "iB") == 0)
            end += 2;
    }
    if (*end)
        return false;
    *bytes = value;
    return true;
}

int opt_size(const char *text, uint64_t *bytes, struct llmos_error *err)
{
    if (!parse_size(text, bytes))
        return fail(err, LLMOS_EINVAL, "'%.40s' is not a size in bytes like 4096, 512M or 8G",
                    text);
    return 0;
}

/* "1.5", "2e-3"; no blanks, no hexadecimal, no words for infinity. */
static bool parse_float(const char *text, double *value)
{
    char *end;
    double v;

    if (!*text || text[strspn(text, "0123456789.+-eE")])
        return false;
    v = strtod(text, &end);
    if (*end || !isfinite(v))
        return false;
    *value = v;
    return true;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);

    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, "|");

        if (n == length && memcmp(at, text, n) == 0)
            return true;
        at += n + (at[n] == '|');
    }
    return false;
}

static int set_text(const struct opt *o, void *to, const char *text, struct llmos_error *err)
{
    struct opt_list *list = to;

    if (!*text && !o->may_be_empty)
        return fail(err, LLMOS_EINVAL, "--%s must not be empty", o->name);
    if (o->choices && !is_choice(o->choices, text))
        return fail(err, LLMOS_EINVAL, "--%s must be one of %s, not '%.60s'", o->name, o->choices,
                    text);
    if (o->type == OPT_TYPE_STRING) {
        *(const char **)to = text;
        return 0;
    }
    if (list->count >= OPT_LIST_MAX)
        return fail(err, LLMOS_ELIMIT, "--%s was given more than %d times", o->name, OPT_LIST_MAX);
    list->at[list->count++] = text;
    return 0;
}

static int set_whole(const struct opt *o, void *to, const char *text, struct llmos_error *err)
{
    const char *end = "";
    uint64_t v;

    if (!whole_number(text, &end, &v) || *end || v < o->min || v > o->max) {
        if (o->max == UINT64_MAX)
            return fail(err, LLMOS_EINVAL,
                        "--%s must be a whole number, at least %" PRIu64 ", not '%.40s'", o->name,
                        o->min, text);
        return fail(err, LLMOS_EINVAL,
                    "--%s must be a whole number from %" PRIu64 " to %" PRIu64 ", not '%.40s'",
                    o->name, o->min, o->max, text);
    }
    if (o->type == OPT_TYPE_U32) {
        assert(o->max <= UINT32_MAX);
        *(uint32_t *)to = (uint32_t)v;
    } else {
        *(uint64_t *)to = v;
    }
    return 0;
}

static int set_size(const struct opt *o, void *to, const char *text, struct llmos_error *err)
{
    uint64_t v;

    if (!parse_size(text, &v))
        return fail(err, LLMOS_EINVAL,
                    "--%s must be a size in bytes like 4096, 512M or 8G, not '%.40s'", o->name,
                    text);
    if (v < o->min)
        return fail(err, LLMOS_EINVAL, "--%s must be at least %" PRIu64 " bytes, not '%.40s'",
                    o->name, o->min, text);
    if (v > o->max)
        return fail(err, LLMOS_EINVAL, "--%s must be at most %" PRIu64 " bytes, not '%.40s'",
                    o->name, o->max, text);
    *(uint64_t *)to = v;
    return 0;
}

static int set_float(const struct opt *o, void *to, const char *text, struct llmos_error *err)
{
    double v;

    if (!parse_float(text, &v) || v < o->least || v > o->most)
        return fail(err, LLMOS_EINVAL, "--%s must be a number from %g to %g, not '%.40s'", o->name,
                    o->least, o->most, text);
    *(float *)to = (float)v;
    return 0;
}

int opt_set(const struct opt *o, void *to, const char *text, struct llmos_error *err)
{
    switch (o->type) {
    case OPT_TYPE_FLAG:
        *(bool *)field(o, to) = true;
        return 0;
    case OPT_TYPE_STRING:
    case OPT_TYPE_LIST:
        return set_text(o, field(o, to), text, err);
    case OPT_TYPE_U32:
    case OPT_TYPE_U64:
        return set_whole(o, field(o, to), text, err);
    case OPT_TYPE_SIZE:
        return set_size(o, field(o, to), text, err);
    case OPT_TYPE_FLOAT:
        return set_float(o, field(o, to), text, err);
    case OPT_TYPE_END:
    case OPT_TYPE_GROUP:
        break;
    }
    assert(o->type != OPT_TYPE_END && o->type != OPT_TYPE_GROUP);
    return fail(err, LLMOS_EINTERNAL, "'%s' is not an option", o->name);
}

/* What getopt_long wants to know of a table. */
struct getopt_tables {
    struct option longs[OPT_MAX + 5];
    char shorts[2 * OPT_MAX + 8];
};

static void fill_tables(struct getopt_tables *t, const struct opt_command *c)
{
    struct option *l = t->longs;
    char *s = t->shorts;

    *s++ = ':'; /* tell a missing value from an unknown option */
    *s++ = 'h';
    *l++ = (struct option){"help", no_argument, NULL, VALUE_HELP};
    if (c->has_version) {
        *l++ = (struct option){"version", no_argument, NULL, VALUE_VERSION};
        *l++ = (struct option){"man", no_argument, NULL, VALUE_MAN};
        *l++ = (struct option){"completion", no_argument, NULL, VALUE_COMPLETION};
    }
    for (int i = 0; c->options && c->options[i].type != OPT_TYPE_END; i++) {
        const struct opt *o = &c->options[i];

        assert(i < OPT_MAX);
        if (!is_option(o))
            continue;
        *l++ = (struct option){o->name, takes_value(o) ? required_argument : no_argument, NULL,
                               VALUE_FIRST + i};
        if (o->letter) {
            *s++ = o->letter;
            if (takes_value(o))
                *s++ = ':';
        }
    }
    *l = (struct option){NULL, 0, NULL, 0};
    *s = '\0';
}

/* The option behind a value of getopt; NULL: none of the table. */
static const struct opt *option_of(const struct opt_command *c, int value)
{
    if (value >= VALUE_FIRST)
        return &c->options[value - VALUE_FIRST];
    for (const struct opt *o = c->options; o && o->type != OPT_TYPE_END; o++)
        if (is_option(o) && o->letter && o->letter == value)
            return o;
    return NULL;
}

static int refuse_long(const struct opt_command *c, const char *word, struct llmos_error *err)
{
    char name[NEAR_WORD_MAX + 1];
    struct near near = {.word = name};
    size_t n = strcspn(word, "=");
    const char *first = NULL;

    if (n > NEAR_WORD_MAX)
        return fail(err, LLMOS_EINVAL, "unknown option '--%.40s...'; see %s --help", word, c->name);
    memcpy(name, word, n);
    name[n] = '\0';
    for (const struct opt *o = c->options; o && o->type != OPT_TYPE_END; o++) {
        if (!is_option(o) || o->hidden)
            continue;
        if (n > 0 && strncmp(o->name, name, n) == 0) {
            if (first)
                return fail(err, LLMOS_EINVAL, "option '--%s' is ambiguous: '--%s' or '--%s'?",
                            name, first, o->name);
            first = o->name;
        }
        near_offer(&near, o->name);
    }
    near_offer(&near, "help");
    if (near.best)
        return fail(err, LLMOS_EINVAL, "unknown option '--%s'; did you mean '--%s'?", name,
                    near.best);
    return fail(err, LLMOS_EINVAL, "unknown option '--%s'; see %s --help", name, c->name);
}

/* `value` is what getopt_long returned: '?' or ':'; optopt and optind say about what. */
static int refuse(const struct opt_command *c, int value, char **argv, struct llmos_error *err)
{
    const struct opt *o = optopt ? option_of(c, optopt) : NULL;

    if (value == ':' && o)
        return fail(err, LLMOS_EINVAL, "option '--%s' needs a value: --%s %s", o->name, o->name,
                    o->metavar);
    if (o)
        return fail(err, LLMOS_EINVAL, "option '--%s' takes no value", o->name);
    if (optopt >= VALUE_HELP)
        return fail(err, LLMOS_EINVAL, "option '%.*s' takes no value",
                    (int)strcspn(argv[optind - 1], "="), argv[optind - 1]);
    if (optopt)
        return fail(err, LLMOS_EINVAL, "unknown option '-%c'; see %s --help", optopt, c->name);
    return refuse_long(c, argv[optind - 1] + 2, err);
}

static int check_operands(const struct opt_command *c, int count, char **argv,
                          struct llmos_error *err)
{
    if ((unsigned)count < c->operands_min)
        return fail(err, LLMOS_EINVAL, "%s is missing: %s %s",
                    c->operand_why ? c->operand_why : "an operand", c->name, c->operands);
    if ((unsigned)count > c->operands_max && c->operands_max == 0)
        return fail(err, LLMOS_EINVAL, "'%.60s' is one word too many: %s takes only options",
                    argv[0], c->name);
    if ((unsigned)count > c->operands_max)
        return fail(err, LLMOS_EINVAL, "'%.60s' is one word too many: %s %s", argv[c->operands_max],
                    c->name, c->operands);
    return 0;
}

int opt_parse(const struct opt_command *c, void *to, int argc, char **argv, struct opt_rest *rest,
              struct llmos_error *err)
{
    struct getopt_tables tables;
    int value, rc;

    fill_tables(&tables, c);
    opterr = 0;
    optind = 0; /* glibc: begin afresh */
    while ((value = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
        if (value == 'h' || value == VALUE_HELP)
            return OPT_HELP;
        if (value > VALUE_HELP && value < VALUE_FIRST)
            return OPT_VERSION + value - VALUE_VERSION;
        if (value == '?' || value == ':')
            return refuse(c, value, argv, err);
        rc = opt_set(option_of(c, value), to, optarg, err);
        if (rc < 0)
            return rc;
    }
    rc = check_operands(c, argc - optind, argv + optind, err);
    if (rc < 0)
        return rc;
    *rest = (struct opt_rest){argv + optind, argc - optind};
    return OPT_GO;
}
