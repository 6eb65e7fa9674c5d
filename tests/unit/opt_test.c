/* SPDX-License-Identifier: Apache-2.0 */
#include "base/opt.h"

#include "base/mem.h"
#include "test.h"

struct copy {
    bool force;
    const char *to, *mode;
    struct opt_list skip;
    uint32_t jobs;
    uint64_t seed, memory;
    float share;
};

static const struct copy copy_defaults = {
    .to = "/backup", .jobs = 2, .seed = 7, .memory = 512u << 20, .share = 0.5f};

static const struct opt copy_options[] = {
    OPT_GROUP("What"),
    OPT_FLAG('f', "force", struct copy, force, "replace what is there"),
    OPT_STRING(
        't', "to", struct copy, to, "FOLDER",
        "where the copies go, a text that is so long that it has to be broken into two lines"),
    OPT_STRING(0, "mode", struct copy, mode, "MODE", "how to copy", .choices = "link|bytes",
               .default_text = "what is faster"),
    OPT_LIST(0, "skip", struct copy, skip, "NAME", "leave this one out"),
    OPT_GROUP("Speed"),
    OPT_U32('j', "jobs", struct copy, jobs, "N", 1, 64, "files at a time"),
    OPT_U64(0, "seed", struct copy, seed, "N", 0, UINT64_MAX, "of the order"),
    OPT_SIZE(0, "memory", struct copy, memory, "BYTES", 1 << 20, 1ull << 40, "most to use"),
    OPT_FLOAT(0, "share", struct copy, share, "X", 0, 1, "of the disk"),
    OPT_FLAG(0, "force-sync", struct copy, force, "not shown", .hidden = true),
    OPT_END,
};

static const struct opt_command copy_command = {
    .name = "tool copy",
    .summary = "copy files",
    .operands = "FILE [FILE]",
    .operand_why = "a file",
    .operands_min = 1,
    .operands_max = 2,
    .description = "Copies files.\n\nA file that is there stays:\n  --force replaces it",
    .examples = "tool copy -f a b\ntool copy 'it is'",
    .see_also = "tool(1)",
    .options = copy_options,
    .defaults = &copy_defaults,
};

/* Splits a line at blanks and parses it; "''" is the empty word. */
static int parse(const char *line, struct copy *to, struct opt_rest *rest, struct llmos_error *err)
{
    static char words[4096];
    static char *argv[200];
    int argc = 0;

    *to = copy_defaults;
    snprintf(words, sizeof(words), "%s", line);
    argv[argc++] = words;
    for (char *at = words; *at; at++)
        if (*at == ' ') {
            *at = '\0';
            argv[argc++] = at + 1;
        }
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "''") == 0)
            argv[i] = &argv[i][2];
    argv[argc] = NULL;
    return opt_parse(&copy_command, to, argc, argv, rest, err);
}

TEST(opt_writes_what_was_given_and_leaves_the_rest)
{
    struct opt_rest rest = {0};
    struct copy c;

    CHECK_INT(parse("copy a -f --jobs=8 --memory 2G b --share .25 --skip x --skip y --mode link",
                    &c, &rest, NULL),
              OPT_GO);
    CHECK(c.force);
    CHECK_INT(c.jobs, 8);
    CHECK_INT(c.seed, 7);
    CHECK_INT(c.memory, 2ll << 30);
    CHECK_NEAR(c.share, 0.25, 0);
    CHECK_STR(c.to, "/backup");
    CHECK_STR(c.mode, "link");
    CHECK_INT(c.skip.count, 2);
    CHECK_STR(c.skip.at[1], "y");
    CHECK_INT(rest.count, 2);
    CHECK_STR(rest.at[0], "a");
    CHECK_STR(rest.at[1], "b");
}

TEST(opt_takes_words_behind_two_dashes_and_a_single_dash_as_operands)
{
    struct opt_rest rest = {0};
    struct copy c;

    CHECK_INT(parse("copy - -- --force", &c, &rest, NULL), OPT_GO);
    CHECK(!c.force);
    CHECK_INT(rest.count, 2);
    CHECK_STR(rest.at[0], "-");
    CHECK_STR(rest.at[1], "--force");
}

TEST(opt_says_help_before_it_complains_about_operands)
{
    struct opt_rest rest = {0};
    struct copy c;

    CHECK_INT(parse("copy --help", &c, &rest, NULL), OPT_HELP);
    CHECK_INT(parse("copy -h", &c, &rest, NULL), OPT_HELP);
    CHECK_INT(parse("copy --version", &c, &rest, NULL), LLMOS_EINVAL);
}

static const struct {
    const char *line, *text;
} wrong[] = {
    {"copy a --jbos 3", "unknown option '--jbos'; did you mean '--jobs'?"},
    {"copy a --jbos=3", "unknown option '--jbos'; did you mean '--jobs'?"},
    {"copy a --xyzzy", "unknown option '--xyzzy'; see tool copy --help"},
    {"copy a --s 1", "option '--s' is ambiguous: '--skip' or '--seed'?"},
    {"copy a -x", "unknown option '-x'; see tool copy --help"},
    {"copy a --jobs", "option '--jobs' needs a value: --jobs N"},
    {"copy a -j", "option '--jobs' needs a value: --jobs N"},
    {"copy a --force=yes", "option '--force' takes no value"},
    {"copy a --help=yes", "option '--help' takes no value"},
    {"copy", "a file is missing: tool copy FILE [FILE]"},
    {"copy a b c", "'c' is one word too many: tool copy FILE [FILE]"},
    {"copy a --jobs 0", "--jobs must be a whole number from 1 to 64, not '0'"},
    {"copy a --jobs 65", "--jobs must be a whole number from 1 to 64, not '65'"},
    {"copy a --jobs -1", "--jobs must be a whole number from 1 to 64, not '-1'"},
    {"copy a --jobs +1", "--jobs must be a whole number from 1 to 64, not '+1'"},
    {"copy a --jobs 4294967297", "--jobs must be a whole number from 1 to 64, not '4294967297'"},
    {"copy a --jobs 3x", "--jobs must be a whole number from 1 to 64, not '3x'"},
    {"copy a --jobs 0x3", "--jobs must be a whole number from 1 to 64, not '0x3'"},
    {"copy a --jobs ''", "--jobs must be a whole number from 1 to 64, not ''"},
    {"copy a --seed 18446744073709551616",
     "--seed must be a whole number, at least 0, not '18446744073709551616'"},
    {"copy a --seed -1", "--seed must be a whole number, at least 0, not '-1'"},
    {"copy a --memory 17179869184G",
     "--memory must be a size in bytes like 4096, 512M or 8G, not '17179869184G'"},
    {"copy a --memory 4MB", "--memory must be a size in bytes like 4096, 512M or 8G, not '4MB'"},
    {"copy a --memory M", "--memory must be a size in bytes like 4096, 512M or 8G, not 'M'"},
    {"copy a --memory 1K", "--memory must be at least 1048576 bytes, not '1K'"},
    {"copy a --memory 2T", "--memory must be at most 1099511627776 bytes, not '2T'"},
    {"copy a --share nan", "--share must be a number from 0 to 1, not 'nan'"},
    {"copy a --share inf", "--share must be a number from 0 to 1, not 'inf'"},
    {"copy a --share 1e999", "--share must be a number from 0 to 1, not '1e999'"},
    {"copy a --share 0x1p-1", "--share must be a number from 0 to 1, not '0x1p-1'"},
    {"copy a --share ''", "--share must be a number from 0 to 1, not ''"},
    {"copy a --share 1.5.2", "--share must be a number from 0 to 1, not '1.5.2'"},
    {"copy a --share -0.1", "--share must be a number from 0 to 1, not '-0.1'"},
    {"copy a --to ''", "--to must not be empty"},
    {"copy a --mode slow", "--mode must be one of link|bytes, not 'slow'"},
    {"copy a --mode lin", "--mode must be one of link|bytes, not 'lin'"},
};

TEST(opt_refuses_what_is_wrong_in_a_sentence_that_names_it)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct llmos_error err = {0};
        struct opt_rest rest = {0};
        struct copy c;

        CHECK_INT(parse(wrong[i].line, &c, &rest, &err), LLMOS_EINVAL);
        CHECK_STR(err.text, wrong[i].text);
    }
}

TEST(opt_counts_the_elements_of_a_list)
{
    struct llmos_error err = {0};
    char line[4096] = "copy a";
    struct opt_rest rest = {0};
    struct copy c;

    for (int i = 0; i < OPT_LIST_MAX; i++)
        strcat(line, " --skip x");
    CHECK_INT(parse(line, &c, &rest, &err), OPT_GO);
    CHECK_INT(c.skip.count, OPT_LIST_MAX);
    strcat(line, " --skip x");
    CHECK_INT(parse(line, &c, &rest, &err), LLMOS_ELIMIT);
    CHECK_STR(err.text, "--skip was given more than 64 times");
}

TEST(opt_survives_words_of_any_length_and_bytes)
{
    struct llmos_error err = {0};
    struct opt_rest rest = {0};
    char line[3000];
    struct copy c;

    memset(line, 'z', sizeof(line));
    memcpy(line, "copy a --", 9);
    line[sizeof(line) - 1] = '\0';
    CHECK_INT(parse(line, &c, &rest, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "unknown option '--zzz");
    CHECK_INT(parse("copy a --\033[31m", &c, &rest, &err), LLMOS_EINVAL);
    CHECK(strchr(err.text, '\033') == NULL);
    CHECK_INT(parse("copy a --jobs \xff\xfe", &c, &rest, &err), LLMOS_EINVAL);
    CHECK_INT(parse("copy a --=", &c, &rest, &err), LLMOS_EINVAL);
    CHECK_INT(parse("copy a -\xff", &c, &rest, &err), LLMOS_EINVAL);
}

TEST(opt_reads_sizes)
{
    uint64_t bytes = 0;

    CHECK(opt_size("4096", &bytes, NULL) == 0 && bytes == 4096);
    CHECK(opt_size("3k", &bytes, NULL) == 0 && bytes == 3072);
    CHECK(opt_size("3GiB", &bytes, NULL) == 0 && bytes == 3ull << 30);
    CHECK(opt_size("1T", &bytes, NULL) == 0 && bytes == 1ull << 40);
    CHECK(opt_size("16777215T", &bytes, NULL) == 0 && bytes == 16777215ull << 40);
    CHECK_INT(opt_size("16777216T", &bytes, NULL), LLMOS_EINVAL);
    CHECK_INT(opt_size("1 G", &bytes, NULL), LLMOS_EINVAL);
    CHECK_INT(opt_size("1.5G", &bytes, NULL), LLMOS_EINVAL);
    CHECK_INT(opt_size("", &bytes, NULL), LLMOS_EINVAL);
}

TEST(opt_help_is_aligned_wrapped_and_shows_defaults)
{
    CLEANUP(buf) struct buf b = {.at = NULL};

    buf_init(&b, 100000);
    opt_help(&b, &copy_command, 72);
    CHECK_STR(b.at, "usage: tool copy [OPTION]... FILE [FILE]\n"
                    "\n"
                    "Copies files.\n"
                    "\n"
                    "A file that is there stays:\n"
                    "  --force replaces it\n"
                    "\n"
                    "What:\n"
                    "  -f, --force         replace what is there\n"
                    "  -t, --to FOLDER     where the copies go, a text that is so long that\n"
                    "                      it has to be broken into two lines (default:\n"
                    "                      /backup)\n"
                    "      --mode MODE     how to copy: link, bytes (default: what is faster)\n"
                    "      --skip NAME     leave this one out (may be repeated)\n"
                    "\n"
                    "Speed:\n"
                    "  -j, --jobs N        files at a time (default: 2)\n"
                    "      --seed N        of the order (default: 7)\n"
                    "      --memory BYTES  most to use (default: 512M)\n"
                    "      --share X       of the disk (default: 0.5)\n"
                    "  -h, --help          show this help and leave\n"
                    "\n"
                    "Examples:\n"
                    "  tool copy -f a b\n"
                    "  tool copy 'it is'\n"
                    "\n"
                    "See also: tool(1)\n");
}

TEST(opt_man_page_cannot_be_led_astray_by_what_texts_contain)
{
    static const struct opt options[] = {
        OPT_STRING('a', "a-b", struct copy, to, "X\\", ".so /etc/passwd 'quoted' back\\slash -x"),
        OPT_END,
    };
    static const struct opt_command c = {.name = "tool x",
                                         .summary = "a-b",
                                         .options = options,
                                         .description = ".sy reboot\n\n'nl",
                                         .examples = ".ex"};
    CLEANUP(buf) struct buf b = {.at = NULL};

    buf_init(&b, 100000);
    opt_man(&b, &c, "1.2");
    CHECK_CONTAINS(b.at, ".TH TOOL-X 1 \"\" \"llmos 1.2\"");
    CHECK_CONTAINS(b.at, "tool\\-x \\- a\\-b\n");
    CHECK_CONTAINS(b.at, "\\fB\\-a\\fR, \\fB\\-\\-a\\-b\\fR \\fIX\\e\\fR\n");
    CHECK_CONTAINS(b.at, "\n\\&.so /etc/passwd \\(aqquoted\\(aq back\\eslash \\-x.\n");
    CHECK_CONTAINS(b.at, "\n\\&.sy reboot\n");
    CHECK_CONTAINS(b.at, "\n\\&\\(aqnl\n");
    CHECK_CONTAINS(b.at, "\n\\&.ex\n");
    CHECK(!strstr(b.at, "\n.so") && !strstr(b.at, "\n.sy"));
}

TEST(opt_completion_knows_verbs_options_and_choices)
{
    static const struct opt_command other = {.name = "tool other", .summary = "x"};
    const struct opt_command *const all[] = {&copy_command, &other};
    CLEANUP(buf) struct buf b = {.at = NULL};

    buf_init(&b, 100000);
    opt_completion(&b, "tool", all, 2);
    CHECK_CONTAINS(b.at, "copy:--mode) words='link bytes' ;;");
    CHECK_CONTAINS(b.at, ":*) words='copy other ' ;;");
    CHECK_CONTAINS(b.at, "complete -o bashdefault -o default -F _tool_complete tool\n");
    CHECK(!strstr(b.at, "force-sync"));
}

TEST(opt_a_program_has_a_version_a_man_page_and_a_completion)
{
    struct opt_command c = {.name = "tool", .summary = "do", .section = 8, .has_version = true};
    static const char *const words[] = {"--help", "--version", "--man", "--completion"};
    static const char *const texts[] = {
        "usage: tool", "tool 1.2\n", ".TH TOOL 8",
        "complete -o bashdefault -o default -F _tool_complete tool"};

    for (int i = 0; i < 4; i++) {
        char word[40], *argv[] = {"tool", word, NULL};
        CLEANUP(buf) struct buf b = {.limit_bytes = 100000};
        struct opt_rest rest;
        int what;

        snprintf(word, sizeof(word), "%s", words[i]);
        what = opt_parse(&c, NULL, 2, argv, &rest, NULL);
        CHECK_INT(what, OPT_HELP + i);
        opt_show(&b, &c, (enum opt_result)what, 80, "1.2");
        CHECK_CONTAINS(b.at, texts[i]);
    }
}

TEST(opt_texts_survive_every_failed_allocation)
{
    const struct opt_command *const all[] = {&copy_command};

    EVERY_ALLOCATION_FAILS
    {
        struct buf b;

        buf_init(&b, 100000);
        opt_help(&b, &copy_command, 80);
        opt_man(&b, &copy_command, "1");
        opt_completion(&b, "tool", all, 1);
        CHECK(b.bad == mem_failed());
        buf_fini(&b);
    }
}
