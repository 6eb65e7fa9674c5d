/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_pack.c - llmos pack: lay models out for this processor, and look after what was made */
#include "base/jsontext.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/converted.h"
#include "cli/halt.h"
#include "cli/prepared.h"
#include "cli/table.h"
#include "cli/talk.h"
#include "tensor/backend.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

struct pack {
    bool list, clean, json;
    struct talk_options room;
};

static const struct pack pack_defaults = {.list = false};

static const struct opt pack_options[] = {
    OPT_GROUP("What is there"),
    OPT_FLAG('l', "list", struct pack, list, "show the packed weights that are kept"),
    OPT_FLAG(0, "clean", struct pack, clean, "remove them all"),
    OPT_GROUP("Output"),
    OPT_FLAG('j', "json", struct pack, json, "print one JSON object"),
    TALK_ROOM_OPTIONS(struct pack, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command pack_command = {
    .name = "llmos pack",
    .summary = "lay out a model's weights for this processor",
    .operands = "[MODEL]...",
    .operand_why = "a model file",
    .operands_max = UINT_MAX,
    .description =
        "Makes packed weights: the matrices of a model once more, in the order in which this "
        "processor reads them. Every VCE that runs the model maps that one file; answers are the "
        "same, they come faster. llmos run, chat and bench do this by themselves for models above "
        "32 MiB, llmosd does it while it serves.\n\n"
        "They are kept in $LLMOS_CACHE, else /var/cache/llmos for root, else in "
        "$XDG_CACHE_HOME/llmos or ~/.cache/llmos: at most 32 GiB and half of the free space; "
        "the longest unused are removed first. A file is named by the SHA-256 of the model, so a "
        "model that was moved or copied keeps it, and one that was changed gets another. "
        "It is made in a VCE that can write it and nothing else.",
    .examples = "llmos pack model.gguf\n"
                "llmos pack --list\n"
                "llmos pack --clean",
    .see_also = "llmos-run(1), llmosd(8)",
    .options = pack_options,
    .defaults = &pack_defaults,
};

static const char *result_name(int result)
{
    return result == PREPARE_MADE ? "made" : result == PREPARE_PRESENT ? "present" : "useless";
}

static int pack_one(struct packcache *c, const struct pack *o, const char *path,
                    struct llmos_error *err)
{
    struct worker_options w;
    char name[256], made[PATH_MAX];
    int rc = talk_fill(&w, &o->room, path, name, sizeof(name), err);

    if (rc == 0 && !backend_best()->reads_packed)
        return PREPARE_USELESS;
    if (rc == 0) {
        w.model_path = converted_find(path, &w, made, sizeof(made), err);
        rc = w.model_path ? prepared_make(c, &w, err) : err->code;
    }
    return rc < 0 ? fail_while(err, rc, "model '%s'", path) : rc;
}

static int pack_all(struct packcache *c, const struct pack *o, const struct opt_rest *rest,
                    struct buf *out)
{
    int code = EXIT_OK;

    buf_puts(out, "{\"models\": [");
    for (int i = 0; i < rest->count && !halt_asked(); i++) {
        struct llmos_error err;
        int rc = pack_one(c, o, rest->at[i], &err);

        if (rc < 0 && !halt_asked())
            code = cli_error(&err);
        if (rc == PREPARE_USELESS && !o->json)
            fprintf(stderr, "llmos: this processor reads '%s' as it is: nothing was made\n",
                    rest->at[i]);
        buf_puts(out, i ? ", {\"model\": " : "{\"model\": ");
        json_put_string(out, str_of(rest->at[i]));
        buf_printf(out, ", \"result\": \"%s\"}", rc < 0 ? "failed" : result_name(rc));
    }
    buf_puts(out, "]}\n");
    return halt_asked() ? EXIT_SIGNAL + halt_asked() : code;
}

static void put_entries(const struct packcache_item *items, size_t count, struct buf *out)
{
    struct table t;

    table_init(&t);
    table_column(&t, "MODEL", false);
    table_column(&t, "SIZE", true);
    table_column(&t, "LAST USED", false);
    table_column(&t, "SHA-256", false);
    for (size_t i = count; i-- > 0;) { /* the youngest first */
        time_t used = (time_t)(items[i].used_ns / 1000000000);
        CLEANUP(buf) struct buf size = {.limit_bytes = 64};
        char when[32] = "";
        struct tm tm;

        if (localtime_r(&used, &tm))
            strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
        put_bytes(&size, items[i].bytes);
        table_cell(&t, items[i].name[0] ? str_of(items[i].name) : STR("?"));
        table_cell(&t, buf_str(&size));
        table_cell(&t, str_of(when));
        table_cellf(&t, "%.12s", items[i].model.hex);
    }
    table_put(&t, "", out);
    table_fini(&t);
}

static void put_json(const struct packcache_item *items, size_t count, struct buf *out)
{
    uint64_t total = 0;

    buf_puts(out, "{\"packed\": [");
    for (size_t i = count; i-- > 0;) {
        buf_puts(out, i + 1 < count ? ", {\"model\": " : "{\"model\": ");
        json_put_string(out, str_of(items[i].name));
        buf_printf(out, ", \"sha256\": \"%s\", \"bytes\": %llu, \"last_used\": %lld}",
                   items[i].model.hex, (unsigned long long)items[i].bytes,
                   (long long)(items[i].used_ns / 1000000000));
        total += items[i].bytes;
    }
    buf_printf(out, "], \"bytes\": %llu}\n", (unsigned long long)total);
}

static int list(const struct packcache *c, const struct pack *o, struct buf *out)
{
    struct packcache_item *items;
    struct llmos_error err;
    size_t count;

    if (packcache_list(c, &items, &count, &err) < 0)
        return cli_error(&err);
    if (o->json)
        put_json(items, count, out);
    else if (count)
        put_entries(items, count, out);
    mem_free(items);
    return cli_print_buf(out);
}

static int clean(const struct packcache *c, const struct pack *o, struct buf *out)
{
    struct llmos_error err;
    uint64_t bytes;

    if (packcache_clean(c, &bytes, &err) < 0)
        return cli_error(&err);
    if (o->json)
        buf_printf(out, "{\"removed_bytes\": %llu}\n", (unsigned long long)bytes);
    return cli_print_buf(out);
}

static int check(const struct pack *o, const struct opt_rest *rest, struct llmos_error *err)
{
    if (o->list + o->clean + (rest->count > 0) == 1)
        return 0;
    return fail(err, LLMOS_EINVAL,
                rest->count || o->list || o->clean
                    ? "MODEL, --list and --clean exclude each other"
                    : "a model file is missing; or --list, or --clean");
}

static int run(int argc, char **argv)
{
    const struct packcache_options place = {.folder = NULL};
    CLEANUP(buf) struct buf out = {.at = NULL};
    struct pack o = pack_defaults;
    struct packcache *c;
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_pack, &o, argc, argv, &rest, &code))
        return code;
    if (check(&o, &rest, &err) < 0) {
        cli_error(&err);
        return EXIT_USAGE;
    }
    if (packcache_open(&c, &place, &err) < 0)
        return cli_error(&err);
    buf_init(&out, 64u << 20);
    if (o.list) {
        code = list(c, &o, &out);
    } else if (o.clean) {
        code = clean(c, &o, &out);
    } else {
        halt_catch();
        code = pack_all(c, &o, &rest, &out);
        if (o.json) { /* also what failed stands there */
            int printed = cli_print_buf(&out);

            code = code == EXIT_OK ? printed : code;
        }
    }
    packcache_close(c);
    return code;
}

const struct cli_verb cli_pack = {"pack", &pack_command, run};
