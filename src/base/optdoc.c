/* SPDX-License-Identifier: Apache-2.0 */
/* optdoc.c - what opt.h says about a table: help, manual page, completion */
#include "base/opt.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#define COLUMN_MAX 26 /* names that are longer get a line of their own */

static bool is_shown(const struct opt *o)
{
    return !o->hidden;
}

static const struct opt *next_option(const struct opt *o)
{
    while (o && o->type != OPT_TYPE_END && (o->type == OPT_TYPE_GROUP || !is_shown(o)))
        o++;
    return o && o->type != OPT_TYPE_END ? o : NULL;
}

/* "(default: 0.8)"; nothing where there is none to show. */
static void put_default(struct buf *out, const struct opt *o, const void *defaults)
{
    const char *field = defaults ? (const char *)defaults + o->at : NULL;

    if (o->default_text) {
        if (*o->default_text)
            buf_printf(out, " (default: %s)", o->default_text);
        return;
    }
    if (!field)
        return;
    if (o->type == OPT_TYPE_STRING) {
        const char *text = *(const char *const *)field;

        if (text && *text)
            buf_printf(out, " (default: %s)", text);
    } else if (o->type == OPT_TYPE_U32) {
        buf_printf(out, " (default: %" PRIu32 ")", *(const uint32_t *)field);
    } else if (o->type == OPT_TYPE_U64) {
        buf_printf(out, " (default: %" PRIu64 ")", *(const uint64_t *)field);
    } else if (o->type == OPT_TYPE_FLOAT) {
        buf_printf(out, " (default: %g)", (double)*(const float *)field);
    } else if (o->type == OPT_TYPE_SIZE) {
        static const char *const units[] = {"", "K", "M", "G", "T"};
        uint64_t v = *(const uint64_t *)field;
        unsigned unit = 0;

        while (v && v % 1024 == 0 && unit < 4) {
            v /= 1024;
            unit++;
        }
        buf_printf(out, " (default: %" PRIu64 "%s)", v, units[unit]);
    }
}

/* Words of text from column `at` on, broken before `width`, later lines indented. */
static void put_wrapped(struct buf *out, struct str text, unsigned at, unsigned indent,
                        unsigned width)
{
    bool fresh = true;

    for (size_t i = 0; i < text.len;) {
        size_t n = 0;

        while (i < text.len && isspace((unsigned char)text.at[i]))
            i++;
        while (i + n < text.len && !isspace((unsigned char)text.at[i + n]))
            n++;
        if (n == 0)
            break;
        if (!fresh && at + 1 + n > width) {
            buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
            fresh = true;
        }
        if (!fresh) {
            buf_putc(out, ' ');
            at++;
        }
        buf_put(out, text.at + i, n);
        at += (unsigned)n;
        i += n;
        fresh = false;
    }
    buf_putc(out, '\n');
}

/* "-n, --max-tokens N" */
static void put_names(struct buf *out, const struct opt *o)
{
    if (o->letter)
        buf_printf(out, "  -%c, ", o->letter);
    else
        buf_puts(out, "      ");
    buf_printf(out, "--%s", o->name);
    if (o->metavar && o->type != OPT_TYPE_FLAG)
        buf_printf(out, " %s", o->metavar);
}

static unsigned names_length(const struct opt *o)
{
    return (unsigned)(8 + strlen(o->name) +
                      (o->metavar && o->type != OPT_TYPE_FLAG ? 1 + strlen(o->metavar) : 0));
}

static unsigned names_column(const struct opt *options, bool has_version)
{
    unsigned column = has_version ? 17 : 14; /* "      --version  ", "  -h, --help  " */

    for (const struct opt *o = options; (o = next_option(o)) != NULL; o++) {
        unsigned n = names_length(o) + 2;

        if (n > column && n <= COLUMN_MAX)
            column = n;
    }
    return column;
}

/* The help text with its choices and default. */
static void put_meaning(struct buf *out, const struct opt *o, const void *defaults)
{
    buf_puts(out, o->help ? o->help : "");
    if (o->choices) {
        buf_puts(out, o->help && *o->help ? ": " : "");
        for (const char *at = o->choices; *at;) {
            size_t n = strcspn(at, "|");

            buf_put(out, at, n);
            at += n + (at[n] == '|');
            if (*at)
                buf_puts(out, ", ");
        }
    }
    if (o->type == OPT_TYPE_LIST)
        buf_puts(out, " (may be repeated)");
    put_default(out, o, defaults);
}

static void put_row(struct buf *out, const struct opt *o, const void *defaults, unsigned column,
                    unsigned width)
{
    char space[1024];
    struct buf text = {.at = space, .room = sizeof(space), .limit_bytes = sizeof(space) - 1};
    unsigned at = names_length(o);

    put_meaning(&text, o, defaults); /* texts are ours and short: no allocation */
    put_names(out, o);
    if (at + 2 > column) {
        buf_putc(out, '\n');
        at = 0;
    }
    buf_printf(out, "%*s", (int)(column - at), "");
    put_wrapped(out, buf_str(&text), column, column, width);
}

/* Paragraphs are wrapped; lines that begin with a blank stay as they are. */
static void put_paragraphs(struct buf *out, const char *text, unsigned width)
{
    while (*text) {
        size_t n;

        if (*text == '\n' || *text == ' ') {
            n = strcspn(text, "\n");
            buf_put(out, text, n);
            buf_putc(out, '\n');
        } else {
            for (n = 0;
                 text[n] && !(text[n] == '\n' && (text[n + 1] == '\n' || text[n + 1] == ' '));)
                n++;
            put_wrapped(out, (struct str){text, n}, 0, 0, width);
        }
        text += n + (text[n] == '\n');
    }
}

static void put_examples(struct buf *out, const char *text, const char *indent)
{
    while (*text) {
        size_t n = strcspn(text, "\n");

        buf_puts(out, indent);
        buf_put(out, text, n);
        buf_putc(out, '\n');
        text += n + (text[n] == '\n');
    }
}

static const struct opt help_option = {
    .type = OPT_TYPE_FLAG, .letter = 'h', .name = "help", .help = "show this help and leave"};
static const struct opt version_option = {
    .type = OPT_TYPE_FLAG, .name = "version", .help = "show the version and leave"};

void opt_help(struct buf *out, const struct opt_command *c, unsigned width)
{
    unsigned column = names_column(c->options, c->has_version);

    width = width < 50 ? 50 : width > OPT_WIDTH_MAX ? OPT_WIDTH_MAX : width;
    buf_printf(out, "usage: %s [OPTION]...%s%s\n\n", c->name, c->operands ? " " : "",
               c->operands ? c->operands : "");
    if (c->description) {
        put_paragraphs(out, c->description, width);
        buf_putc(out, '\n');
    }
    if (!c->options || c->options->type != OPT_TYPE_GROUP)
        buf_puts(out, "Options:\n");
    for (const struct opt *o = c->options; o && o->type != OPT_TYPE_END; o++) {
        if (o->type == OPT_TYPE_GROUP)
            buf_printf(out, "%s%s:\n", o == c->options ? "" : "\n", o->name);
        else if (is_shown(o))
            put_row(out, o, c->defaults, column, width);
    }
    put_row(out, &help_option, NULL, column, width);
    if (c->has_version)
        put_row(out, &version_option, NULL, column, width);
    if (c->examples) {
        buf_puts(out, "\nExamples:\n");
        put_examples(out, c->examples, "  ");
    }
    if (c->see_also)
        buf_printf(out, "\nSee also: %s\n", c->see_also);
}

/* What roff would understand becomes what it shows.  at_start: of an input line, where a full stop
 * or an apostrophe would begin a request. */
static void put_roff(struct buf *out, struct str text, bool at_start)
{
    for (size_t i = 0; i < text.len; i++) {
        char ch = text.at[i];

        if (at_start && (ch == '.' || ch == '\''))
            buf_puts(out, "\\&");
        at_start = false;
        if (ch == '\\')
            buf_puts(out, "\\e");
        else if (ch == '-')
            buf_puts(out, "\\-");
        else if (ch == '\'')
            buf_puts(out, "\\(aq");
        else if (ch == '`')
            buf_puts(out, "\\(ga");
        else if (ch == '^')
            buf_puts(out, "\\(ha");
        else if (ch == '~')
            buf_puts(out, "\\(ti");
        else if (ch == '\n') /* the next line begins with a request only if we let it */
            buf_puts(out, " ");
        else
            buf_putc(out, ch);
    }
}

static void man_lines(struct buf *out, const char *text)
{
    buf_puts(out, ".PP\n.nf\n.RS 4\n");
    while (*text) {
        size_t n = strcspn(text, "\n");

        put_roff(out, (struct str){text, n}, true);
        buf_putc(out, '\n');
        text += n + (text[n] == '\n');
    }
    buf_puts(out, ".RE\n.fi\n");
}

static void man_paragraphs(struct buf *out, const char *text)
{
    while (*text) {
        size_t n = 0;

        if (*text == '\n') {
            text++;
            continue;
        }
        if (*text == ' ') {
            char lines[2048];
            size_t used = 0;

            while (*text == ' ' && used < sizeof(lines) - 1) {
                size_t length = strcspn(text, "\n");
                size_t skip = strspn(text, " ") < length ? strspn(text, " ") : length;

                used += (size_t)snprintf(lines + used, sizeof(lines) - used, "%.*s\n",
                                         (int)(length - skip), text + skip);
                if (used >= sizeof(lines))
                    used = sizeof(lines) - 1;
                text += length + (text[length] == '\n');
            }
            man_lines(out, lines);
            continue;
        }
        while (text[n] && !(text[n] == '\n' && (text[n + 1] == '\n' || text[n + 1] == ' ')))
            n++;
        buf_puts(out, ".PP\n");
        put_roff(out, (struct str){text, n}, true);
        buf_putc(out, '\n');
        text += n;
    }
}

static void man_option(struct buf *out, const struct opt *o, const void *defaults)
{
    char space[1024];
    struct buf text = {.at = space, .room = sizeof(space), .limit_bytes = sizeof(space) - 1};

    put_meaning(&text, o, defaults);
    buf_puts(out, ".TP\n");
    if (o->letter)
        buf_printf(out, "\\fB\\-%c\\fR, ", o->letter);
    buf_puts(out, "\\fB\\-\\-");
    put_roff(out, str_of(o->name), false);
    buf_puts(out, "\\fR");
    if (o->metavar && o->type != OPT_TYPE_FLAG) {
        buf_puts(out, " \\fI");
        put_roff(out, str_of(o->metavar), false);
        buf_puts(out, "\\fR");
    }
    buf_putc(out, '\n');
    put_roff(out, buf_str(&text), true);
    buf_puts(out, ".\n");
}

static void man_head(struct buf *out, const struct opt_command *c, const char *version)
{
    char page[64];
    size_t i;

    for (i = 0; c->name[i] && i < sizeof(page) - 1; i++)
        page[i] = c->name[i] == ' ' ? '-' : c->name[i];
    page[i] = '\0';
    buf_puts(out, ".TH ");
    for (i = 0; page[i]; i++)
        buf_putc(out, (char)toupper((unsigned char)page[i]));
    buf_printf(out, " %u \"\" \"llmos %s\" \"LLM OS\"\n", c->section ? c->section : 1, version);
    buf_puts(out, ".SH NAME\n");
    put_roff(out, str_of(page), true);
    buf_puts(out, " \\- ");
    put_roff(out, str_of(c->summary), false);
    buf_puts(out, "\n.SH SYNOPSIS\n.B ");
    put_roff(out, str_of(c->name), false);
    buf_puts(out, "\n[\\fIOPTION\\fR]...\n");
    if (c->operands) {
        buf_puts(out, "\\fI");
        put_roff(out, str_of(c->operands), false);
        buf_puts(out, "\\fR\n");
    }
}

void opt_man(struct buf *out, const struct opt_command *c, const char *version)
{
    man_head(out, c, version);
    if (c->description) {
        buf_puts(out, ".SH DESCRIPTION\n");
        man_paragraphs(out, c->description);
    }
    buf_puts(out, ".SH OPTIONS\n");
    for (const struct opt *o = c->options; o && o->type != OPT_TYPE_END; o++) {
        if (o->type == OPT_TYPE_GROUP) {
            buf_puts(out, ".SS ");
            put_roff(out, str_of(o->name), false);
            buf_putc(out, '\n');
        } else if (is_shown(o)) {
            man_option(out, o, c->defaults);
        }
    }
    man_option(out, &help_option, NULL);
    if (c->has_version)
        man_option(out, &version_option, NULL);
    if (c->examples) {
        buf_puts(out, ".SH EXAMPLES\n");
        man_lines(out, c->examples);
    }
    if (c->see_also) {
        buf_puts(out, ".SH SEE ALSO\n");
        put_roff(out, str_of(c->see_also), true);
        buf_putc(out, '\n');
    }
}

/* "llmos run" -> "run", "llmosd" -> "" */
static const char *verb_of(const struct opt_command *c)
{
    const char *space = strchr(c->name, ' ');

    return space ? space + 1 : "";
}

static void completion_choices(struct buf *out, const struct opt_command *c)
{
    for (const struct opt *o = c->options; (o = next_option(o)) != NULL; o++) {
        if (!o->choices)
            continue;
        buf_printf(out, "    %s:--%s", verb_of(c), o->name);
        if (o->letter)
            buf_printf(out, "|%s:-%c", verb_of(c), o->letter);
        buf_puts(out, ") words='");
        for (const char *at = o->choices; *at; at++)
            buf_putc(out, *at == '|' ? ' ' : *at);
        buf_puts(out, "' ;;\n");
    }
}

static void completion_options(struct buf *out, const struct opt_command *c)
{
    buf_printf(out, "    %s:-*) words='", verb_of(c));
    for (const struct opt *o = c->options; (o = next_option(o)) != NULL; o++)
        buf_printf(out, "--%s ", o->name);
    buf_printf(out, "--help%s' ;;\n", c->has_version ? " --version" : "");
}

void opt_completion(struct buf *out, const char *program, const struct opt_command *const *commands,
                    size_t count)
{
    buf_printf(out,
               "# bash completion of %s, made from its option tables\n"
               "_%s_complete() {\n"
               "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
               "    local verb= words=\n",
               program, program);
    if (count > 1)
        buf_puts(out, "    [ \"$COMP_CWORD\" -gt 1 ] && verb=${COMP_WORDS[1]}\n");
    buf_puts(out, "    case $verb:$previous in\n");
    for (size_t i = 0; i < count; i++)
        completion_choices(out, commands[i]);
    buf_puts(out, "    *) case $verb:$current in\n");
    for (size_t i = 0; i < count; i++)
        completion_options(out, commands[i]);
    buf_puts(out, "    :*) words='");
    for (size_t i = 0; i < count; i++)
        if (*verb_of(commands[i]))
            buf_printf(out, "%s ", verb_of(commands[i]));
    buf_printf(out,
               "' ;;\n"
               "    esac ;;\n"
               "    esac\n"
               "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
               "}\n"
               "complete -o bashdefault -o default -F _%s_complete %s\n",
               program, program);
}

void opt_show(struct buf *out, const struct opt_command *c, enum opt_result what, unsigned width,
              const char *version)
{
    switch (what) {
    case OPT_VERSION:
        buf_printf(out, "%s %s\n", c->name, version);
        break;
    case OPT_MAN:
        opt_man(out, c, version);
        break;
    case OPT_COMPLETION:
        opt_completion(out, c->name, &c, 1);
        break;
    default:
        opt_help(out, c, width);
    }
}
