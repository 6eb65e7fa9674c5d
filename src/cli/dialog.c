/* SPDX-License-Identifier: Apache-2.0 */
/* dialog.c - see dialog.h */
#include "cli/dialog.h"

#include "base/jsontext.h"
#include "base/mem.h"

#include <assert.h>

#define TEXTS_MAX (256u << 20) /* a conversation past every context, retries included */

void dialog_init(struct dialog *d)
{
    d->count = 0;
    d->system = STR("");
    d->thinks_not = false;
    arena_init(&d->arena, TEXTS_MAX);
}

void dialog_fini(struct dialog *d)
{
    arena_fini(&d->arena);
    d->count = 0;
    d->system = STR("");
}

static int keep(struct dialog *d, struct str text, struct str *kept, struct llmos_error *err)
{
    char *copy = arena_strndup(&d->arena, text.at, text.len);

    if (!copy)
        return fail(err, LLMOS_ENOMEM, "no memory for another message of %zu bytes; try /reset",
                    text.len);
    *kept = (struct str){copy, text.len};
    return 0;
}

static int push(struct dialog *d, const char *role, struct str text, struct llmos_error *err)
{
    struct str kept;
    int rc;

    if (d->count == DIALOG_MESSAGES_MAX)
        return fail(err, LLMOS_ELIMIT, "the conversation has %d messages, more are not possible",
                    DIALOG_MESSAGES_MAX);
    rc = keep(d, text, &kept, err);
    if (rc < 0)
        return rc;
    d->messages[d->count++] = (struct dialog_message){str_of(role), kept};
    return 0;
}

void dialog_reset(struct dialog *d)
{
    struct arena old = d->arena;
    struct str system = d->system;

    arena_init(&d->arena, TEXTS_MAX);
    d->count = 0;
    d->system = STR("");
    /* If there is no memory for its copy, the old arena stays: then it holds the text. */
    if (system.len &&
        (keep(d, system, &d->system, NULL) < 0 || push(d, "system", d->system, NULL) < 0)) {
        arena_fini(&d->arena);
        d->arena = old;
        d->system = system;
        d->messages[0] = (struct dialog_message){STR("system"), system};
        d->count = 1;
        return;
    }
    arena_fini(&old);
}

int dialog_set_system(struct dialog *d, struct str text, struct llmos_error *err)
{
    struct str kept = STR("");
    int rc = text.len ? keep(d, text, &kept, err) : 0;

    if (rc < 0)
        return rc;
    d->system = kept;
    dialog_reset(d);
    return 0;
}

int dialog_add(struct dialog *d, const char *role, struct str text, struct llmos_error *err)
{
    return push(d, role, text, err);
}

void dialog_cut(struct dialog *d, uint32_t count)
{
    assert(count <= d->count);
    d->count = count;
}

void dialog_put_json(const struct dialog *d, struct buf *out)
{
    buf_puts(out, "{\"messages\": [");
    for (uint32_t i = 0; i < d->count; i++) {
        buf_puts(out, i ? ",\n  {\"role\": " : "\n  {\"role\": ");
        json_put_string(out, d->messages[i].role);
        buf_puts(out, ", \"content\": ");
        json_put_string(out, d->messages[i].content);
        buf_putc(out, '}');
    }
    buf_puts(out, d->thinks_not ? "\n], \"enable_thinking\": false}\n" : "\n]}\n");
}
