/* SPDX-License-Identifier: Apache-2.0 */
/* converter.c - see converter.h */
#include "engine/converter.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/hfconvert.h"

#define PROGRESS_EVERY_NS 50000000u

struct converter {
    struct serve *serve;
    uint64_t id, said_ns, bytes;
    struct llmos_error why; /* it was stopped; code 0: it was not */
    struct hffile files[MESSAGE_FILES_MAX];
    struct file_map maps[MESSAGE_FILES_MAX];
    unsigned count;
    struct arena arena; /* names, which outlive the message */
};

static int say_progress(void *arg, uint64_t done, uint64_t total)
{
    struct converter *c = arg;
    struct serve *s = c->serve;
    int rc;

    c->bytes = total;
    if (clock_ns() - c->said_ns < PROGRESS_EVERY_NS)
        return 0;
    c->said_ns = clock_ns();
    wire_put(s->wire,
             &(struct message){.type = MESSAGE_PROGRESS, .id = c->id, .progress = {done, total}});
    rc = serve_hear(s, 0, &c->why);
    if (rc == 0 && s->alone_is_canceled)
        rc = fail(&c->why, LLMOS_ECANCELED, "the conversion was canceled");
    return rc;
}

static int map_files(struct converter *c, const struct message_convert *m, struct llmos_error *err)
{
    for (uint32_t i = 0; i < m->count; i++) {
        char *name = arena_strndup(&c->arena, m->files[i].at, m->files[i].len);
        int rc;

        if (!name)
            return fail(err, LLMOS_ENOMEM, "no memory for the names of the files");
        rc = file_map(&c->maps[c->count], c->serve->folder_fd + (int)i, err);
        if (rc < 0)
            return fail_while(err, rc, "'%s'", name);
        c->files[c->count] =
            (struct hffile){name, {(const char *)c->maps[c->count].at, c->maps[c->count].len}};
        c->count++;
    }
    return 0;
}

static int convert(struct converter *c, const struct message_convert *m, struct llmos_error *err)
{
    char *name = arena_strndup(&c->arena, m->name.at, m->name.len);
    char *type = arena_strndup(&c->arena, m->type.at, m->type.len);
    struct hfconvert_options o = {.progress = say_progress, .arg = c};
    int rc;

    if (!name || !type)
        return fail(err, LLMOS_ENOMEM, "no memory for the names of the files");
    if (!hfconvert_type(type, &o.type))
        return fail(err, LLMOS_EINVAL, "type '%s' is not one of " HFCONVERT_TYPES, type);
    o.name = str_of(name);
    rc = map_files(c, m, err);
    return rc < 0 ? rc : hfconvert(c->files, c->count, c->serve->output_fd, &o, err);
}

int converter_run(struct serve *s, uint64_t id, const struct message_convert *m,
                  struct llmos_error *err)
{
    struct converter *c = mem_zalloc(1, sizeof(*c));
    struct message done = {.type = MESSAGE_PACKED, .id = id};
    int rc;

    if (!c)
        return fail(err, LLMOS_ENOMEM, "no memory to convert");
    c->serve = s;
    c->id = id;
    arena_init(&c->arena, 1u << 20);
    rc = convert(c, m, err);
    done.packed = (struct message_packed){true, c->bytes};
    if (rc == 0)
        wire_put(s->wire, &done);
    else if (c->why.code)
        rc = fail(err, c->why.code, "%s", c->why.text);
    for (unsigned i = 0; i < c->count; i++)
        file_unmap(&c->maps[i]);
    arena_fini(&c->arena);
    mem_free(c);
    return rc;
}
