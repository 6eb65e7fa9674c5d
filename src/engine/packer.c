/* SPDX-License-Identifier: Apache-2.0 */
/* packer.c - see packer.h */
#include "engine/packer.h"

#include "base/clock.h"
#include "model/packfile.h"

#define PROGRESS_EVERY_NS 50000000u

struct packer {
    struct serve *serve;
    uint64_t id, said_ns;
    struct llmos_error why; /* it was stopped; code 0: it was not */
};

static int say_progress(void *arg, uint64_t done, uint64_t total)
{
    struct packer *p = arg;
    struct serve *s = p->serve;
    int rc;

    if (clock_ns() - p->said_ns < PROGRESS_EVERY_NS)
        return 0;
    p->said_ns = clock_ns();
    wire_put(s->wire,
             &(struct message){.type = MESSAGE_PROGRESS, .id = p->id, .progress = {done, total}});
    rc = serve_hear(s, 0, &p->why);
    if (rc == 0 && s->alone_is_canceled)
        rc = fail(&p->why, LLMOS_ECANCELED, "packing was canceled");
    return rc;
}

int packer_run(struct serve *s, uint64_t id, struct llmos_error *err)
{
    struct packer p = {.serve = s, .id = id};
    struct message m = {.type = MESSAGE_PACKED, .id = id};
    int rc = 0;

    if (packfile_helps(s->model)) {
        m.packed = (struct message_packed){true, packfile_bytes(s->model)};
        rc = packfile_write(s->output_fd, s->model, say_progress, &p, err);
    }
    if (rc == 0)
        wire_put(s->wire, &m);
    else if (p.why.code)
        rc = fail(err, p.why.code, "%s", p.why.text);
    return rc;
}
