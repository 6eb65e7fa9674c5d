/* SPDX-License-Identifier: Apache-2.0 */
/* opt.h - one table a program or verb: parsing, --help, man page and completion come from it.
 *
 *     struct copy { uint32_t jobs; const char *to; bool force; };
 *
 *     static const struct opt copy_options[] = {
 *         OPT_GROUP("Speed"),
 *         OPT_U32('j', "jobs", struct copy, jobs, "N", 1, 64, "copy this many files at a time"),
 *         OPT_FLAG('f', "force", struct copy, force, "replace what is there"),
 *         OPT_END,
 *     };
 *
 * What a struct of options holds before parsing is its default, and --help shows it; only what the
 * command line gives is written, so parsing twice (once to find the configuration file, once over
 * what the file said) is fine.  Strings point into argv.  A macro refuses a field of the wrong type
 * when it is compiled.
 *
 * Nothing here prints or allocates: errors are sentences that name the option, texts go to a buf.
 * getopt_long underneath keeps static state: one thread. */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include "base/buf.h"

enum opt_type {
    OPT_TYPE_END,
    OPT_TYPE_GROUP,  /* a heading over the options that follow */
    OPT_TYPE_FLAG,   /* bool, becomes true */
    OPT_TYPE_STRING, /* const char * */
    OPT_TYPE_LIST,   /* struct opt_list: may be given several times */
    OPT_TYPE_U32,    /* uint32_t */
    OPT_TYPE_U64,    /* uint64_t */
    OPT_TYPE_SIZE,   /* uint64_t of bytes: 512M; units are powers of 1024 */
    OPT_TYPE_FLOAT,  /* float, finite */
};

#define OPT_LIST_MAX    64  /* 64 models, 64 stop strings: more belongs into a configuration file */
#define OPT_MAX         96  /* options of one table */
#define OPT_EXIT_USAGE  2   /* exit code of a program whose command line was wrong */
#define OPT_WIDTH_PLAIN 80  /* columns of --help where the terminal does not say */
#define OPT_WIDTH_MAX   100 /* longer lines are hard to read */

struct opt_list {
    const char *at[OPT_LIST_MAX];
    unsigned count;
};

struct opt {
    enum opt_type type;
    char letter;              /* 0: only the long name */
    const char *name;         /* "max-tokens", or the heading of a group */
    const char *metavar;      /* "N" */
    const char *help;         /* one sentence without its full stop */
    const char *default_text; /* shown instead of the value: "all cores"; "" shows nothing */
    const char *choices;      /* "on|off": what a string or list element may be; NULL: anything */
    size_t at;                /* offset in the struct of options */
    uint64_t min, max;        /* of U32, U64 and SIZE */
    double least, most;       /* of FLOAT */
    bool may_be_empty;        /* STRING, LIST: "" is a value */
    bool hidden;              /* accepted, not shown */
};

/* The offset of a field; does not compile if the field has another type. */
#define OPT_AT(s, field, wanted) \
    (offsetof(s, field) +        \
     0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((s *)0)->field), wanted) ? 1 : -1]))

/* Each takes further members at the end: OPT_U32(..., .default_text = "all cores"). */
#define OPT_END              \
    {                        \
        .type = OPT_TYPE_END \
    }
#define OPT_GROUP(title)                        \
    {                                           \
        .type = OPT_TYPE_GROUP, .name = (title) \
    }
#define OPT_FLAG(short_, long_, s, field, help_, ...)                                             \
    {                                                                                             \
        .type = OPT_TYPE_FLAG, .letter = (short_), .name = (long_), .at = OPT_AT(s, field, bool), \
        .help = (help_), ##__VA_ARGS__                                                            \
    }
#define OPT_STRING(short_, long_, s, field, metavar_, help_, ...)                     \
    {                                                                                 \
        .type = OPT_TYPE_STRING, .letter = (short_), .name = (long_),                 \
        .at = OPT_AT(s, field, const char *), .metavar = (metavar_), .help = (help_), \
        ##__VA_ARGS__                                                                 \
    }
#define OPT_LIST(short_, long_, s, field, metavar_, help_, ...)                          \
    {                                                                                    \
        .type = OPT_TYPE_LIST, .letter = (short_), .name = (long_),                      \
        .at = OPT_AT(s, field, struct opt_list), .metavar = (metavar_), .help = (help_), \
        ##__VA_ARGS__                                                                    \
    }
#define OPT_U32(short_, long_, s, field, metavar_, min_, max_, help_, ...)                     \
    {                                                                                          \
        .type = OPT_TYPE_U32, .letter = (short_), .name = (long_),                             \
        .at = OPT_AT(s, field, uint32_t), .metavar = (metavar_), .min = (min_), .max = (max_), \
        .help = (help_), ##__VA_ARGS__                                                         \
    }
#define OPT_U64(short_, long_, s, field, metavar_, min_, max_, help_, ...)                     \
    {                                                                                          \
        .type = OPT_TYPE_U64, .letter = (short_), .name = (long_),                             \
        .at = OPT_AT(s, field, uint64_t), .metavar = (metavar_), .min = (min_), .max = (max_), \
        .help = (help_), ##__VA_ARGS__                                                         \
    }
#define OPT_SIZE(short_, long_, s, field, metavar_, min_, max_, help_, ...)                    \
    {                                                                                          \
        .type = OPT_TYPE_SIZE, .letter = (short_), .name = (long_),                            \
        .at = OPT_AT(s, field, uint64_t), .metavar = (metavar_), .min = (min_), .max = (max_), \
        .help = (help_), ##__VA_ARGS__                                                         \
    }
#define OPT_FLOAT(short_, long_, s, field, metavar_, least_, most_, help_, ...)                   \
    {                                                                                             \
        .type = OPT_TYPE_FLOAT, .letter = (short_), .name = (long_),                              \
        .at = OPT_AT(s, field, float), .metavar = (metavar_), .least = (least_), .most = (most_), \
        .help = (help_), ##__VA_ARGS__                                                            \
    }

/* A program, or a verb of one.  --help is understood by all of them, --version if has_version. */
struct opt_command {
    const char *name;        /* "llmosd", "llmos run" */
    const char *summary;     /* "run a model once", for lists and the head of the man page */
    const char *operands;    /* "MODEL [PROMPT]"; NULL: none are accepted */
    const char *operand_why; /* said when one is missing: "a model file" */
    const char *description; /* paragraphs parted by "\n\n"; a line that begins with a blank is kept
                                as it is */
    const char *examples;    /* lines: "llmos run m.gguf 'Hello'\n..."; NULL: none */
    const char *see_also;    /* "llmosd(8), llmos-chat(1)"; NULL: none */
    const struct opt *options; /* ends with OPT_END */
    const void *defaults;      /* a struct of options as it is before parsing */
    unsigned operands_min, operands_max;
    unsigned section; /* of the manual; 0: 1 */
    bool has_version;
};

enum opt_result {
    OPT_GO,
    OPT_HELP,
    OPT_VERSION, /* this and what follows only with has_version */
    OPT_MAN,     /* --man and --completion are for the build and not shown */
    OPT_COMPLETION,
};

struct opt_rest {
    char **at; /* the operands, in argv */
    int count;
};

/* argv[0] is skipped; argv is reordered as getopt does, options may follow operands, "--" ends
 * them. Returns an enum opt_result, or LLMOS_EINVAL. */
int opt_parse(const struct opt_command *c, void *to, int argc, char **argv, struct opt_rest *rest,
              struct llmos_error *err);

/* One value as the table checks it, for values that do not come from a command line. */
int opt_set(const struct opt *o, void *to, const char *text, struct llmos_error *err);

/* "512M", "1G", "4096": bytes. */
int opt_size(const char *text, uint64_t *bytes, struct llmos_error *err);

/* The text that a result other than OPT_GO asks for. */
void opt_show(struct buf *out, const struct opt_command *c, enum opt_result what, unsigned width,
              const char *version);
void opt_help(struct buf *out, const struct opt_command *c, unsigned width);
void opt_man(struct buf *out, const struct opt_command *c, const char *version);
/* A bash script that completes the options of `program`, and of its verbs if commands has names of
 * two words. */
void opt_completion(struct buf *out, const char *program, const struct opt_command *const *commands,
                    size_t count);

#endif
