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
    OPT_FLAG('l', "list", struct pack, list,
             "show the packed weights and converted models that are kept"),
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
        "32 MiB, llmosd does it while it serves. They take as much as the model, or less; of types "
        "below four bits (iq1 to iq3, tq) up to 2.2 times as much, and none of these are made "
        "where memory would not hold them.\n\n"
        "They are kept in $LLMOS_CACHE, else /var/cache/llmos for root, else in "
        "$XDG_CACHE_HOME/llmos or ~/.cache/llmos: at most 32 GiB and half of the free space; "
        "the longest unused are removed first. A file is named by the SHA-256 of the model, so a "
        "model that was moved or copied keeps it, and one that was changed gets another. What "
        "folders of Hugging Face were converted to is kept beside them, see llmos-convert(1). "
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

static int pack_all(const struct pack *o, const struct opt_rest *rest, struct buf *out)
{
    const struct packcache_options place = {.kind = PACKCACHE_PACKED};
    struct llmos_error no_cache;
    struct packcache *c;
    int code = EXIT_OK;

    if (packcache_open(&c, &place, &no_cache) < 0)
        return cli_error(&no_cache);

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
    packcache_close(c);
    return halt_asked() ? EXIT_SIGNAL + halt_asked() : code;
}

/* ---- what is kept ---- */

static const struct {
    enum packcache_kind kind;
    const char *name;
} kinds[] = {{PACKCACHE_PACKED, "packed"}, {PACKCACHE_CONVERTED, "converted"}};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The entries of one kind; mem_free(*items). */
static int find_entries(size_t kind, struct packcache_item **items, size_t *count,
                        struct llmos_error *err)
{
    const struct packcache_options place = {.kind = kinds[kind].kind};
    struct packcache *c;
    int rc = packcache_open(&c, &place, err);

    if (rc < 0)
        return rc;
    rc = packcache_list(c, items, count, err);
    packcache_close(c);
    return rc;
}

static void put_entry(struct table *t, const struct packcache_item *item, const char *kind)
{
    time_t used = (time_t)(item->used_ns / 1000000000);
    CLEANUP(buf) struct buf size = {.limit_bytes = 64};
    char when[32] = "";
    struct tm tm;

    if (localtime_r(&used, &tm))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
    put_bytes(&size, item->bytes);
    table_cell(t, item->name[0] ? str_of(item->name) : STR("?"));
    table_cell(t, str_of(kind));
    table_cell(t, buf_str(&size));
    table_cell(t, str_of(when));
    table_cellf(t, "%.12s", item->model.hex);
}

static void put_entries(struct packcache_item *const *items, const size_t *counts, struct buf *out)
{
    struct table t;

    table_init(&t);
    table_column(&t, "MODEL", false);
    table_column(&t, "KIND", false);
    table_column(&t, "SIZE", true);
    table_column(&t, "LAST USED", false);
    table_column(&t, "SHA-256", false);
    for (size_t k = 0; k < KINDS; k++)
        for (size_t i = counts[k]; i-- > 0;) /* the youngest first */
            put_entry(&t, &items[k][i], kinds[k].name);
    table_put(&t, "", out);
    table_fini(&t);
}

static void put_json(struct packcache_item *const *items, const size_t *counts, struct buf *out)
{
    uint64_t total = 0;

    for (size_t k = 0; k < KINDS; k++) {
        buf_printf(out, "%s\"%s\": [", k ? "], " : "{", kinds[k].name);
        for (size_t i = counts[k]; i-- > 0;) {
            const struct packcache_item *item = &items[k][i];

            buf_puts(out, i + 1 < counts[k] ? ", {\"model\": " : "{\"model\": ");
            json_put_string(out, str_of(item->name));
            buf_printf(out, ", \"sha256\": \"%s\", \"bytes\": %llu, \"last_used\": %lld}",
                       item->model.hex, (unsigned long long)item->bytes,
                       (long long)(item->used_ns / 1000000000));
            total += item->bytes;
        }
    }
    buf_printf(out, "], \"bytes\": %llu}\n", (unsigned long long)total);
}

static int list(const struct pack *o, struct buf *out)
{
    struct packcache_item *items[KINDS] = {NULL};
    size_t counts[KINDS] = {0};
    struct llmos_error err;
    int rc = 0;

    for (size_t k = 0; rc == 0 && k < KINDS; k++)
        rc = find_entries(k, &items[k], &counts[k], &err);
    if (rc == 0 && o->json)
        put_json(items, counts, out);
    else if (rc == 0 && counts[0] + counts[1])
        put_entries(items, counts, out);
    for (size_t k = 0; k < KINDS; k++)
        mem_free(items[k]);
    return rc < 0 ? cli_error(&err) : cli_print_buf(out);
}

static int clean(const struct pack *o, struct buf *out)
{
    uint64_t total = 0;

    for (size_t k = 0; k < KINDS; k++) {
        const struct packcache_options place = {.kind = kinds[k].kind};
        struct packcache *c;
        struct llmos_error err;
        uint64_t bytes = 0;
        int rc = packcache_open(&c, &place, &err);

        if (rc == 0) {
            rc = packcache_clean(c, &bytes, &err);
            packcache_close(c);
        }
        if (rc < 0)
            return cli_error(&err);
        total += bytes;
    }
    if (o->json)
        buf_printf(out, "{\"removed_bytes\": %llu}\n", (unsigned long long)total);
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
    CLEANUP(buf) struct buf out = {.at = NULL};
    struct pack o = pack_defaults;
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_pack, &o, argc, argv, &rest, &code))
        return code;
    if (check(&o, &rest, &err) < 0) {
        cli_error(&err);
        return EXIT_USAGE;
    }
    buf_init(&out, 64u << 20);
    if (o.list) {
        code = list(&o, &out);
    } else if (o.clean) {
        code = clean(&o, &out);
    } else {
        halt_catch();
        code = pack_all(&o, &rest, &out);
        if (o.json) { /* also what failed stands there */
            int printed = cli_print_buf(&out);

            code = code == EXIT_OK ? printed : code;
        }
    }
    return code;
}

const struct cli_verb cli_pack = {"pack", &pack_command, run};
