/* SPDX-License-Identifier: Apache-2.0 */
/* engine_main.c - llmos-engine: one model in an empty room, asked over one socket.
 *
 * Descriptor 3 is the socket, 4 the model, 5 a draft model if there is one, 8 packed weights to
 * read, 9 what is to be written, 10 importance data, 12 and on the files of a folder or
 * the further parts of models in several files; nothing else is ever opened.  Ends with 0 when the
 * host closes the socket, with 1 when it cannot go on, which it has then told the host. */
#include "engine/serve.h"
#include "vce/launch.h"
#include "vce/seal.h"

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
/* The search for leaks reads /proc, which a sealed engine cannot: serve_test does it outside. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

/* 1: *m is SETUP; 0: the host went away before it said anything. */
static int hear_setup(struct wire *w, struct message *m, struct llmos_error *err)
{
    for (;;) {
        int rc = wire_next(w, m, err);

        if (rc == 1 && m->type != MESSAGE_SETUP)
            return fail(err, LLMOS_EFORMAT, "the first frame is not SETUP");
        if (rc != 0)
            return rc;
        rc = wire_turn(w, -1, err);
        if (rc < 0)
            return rc == LLMOS_ECLOSED ? 0 : rc;
    }
}

static int live(struct wire *w, struct llmos_error *err)
{
    static const struct serve_files files = {VCE_MODEL_FD,  VCE_DRAFT_FD,      VCE_PACKED_FD,
                                             VCE_OUTPUT_FD, VCE_IMPORTANCE_FD, VCE_FOLDER_FD};
    struct serve s;
    struct message m;
    int rc = hear_setup(w, &m, err);

    if (rc <= 0)
        return rc;
    rc = serve_init(&s, w, &files, &m.setup, err);
    if (rc == 0)
        rc = serve_run(&s, err);
    serve_fini(&s);
    return rc;
}

int main(void)
{
    struct llmos_error err = {0};
    struct wire w;
    int rc = seal(&err);

    wire_init(&w, VCE_SOCKET_FD);
    if (rc == 0)
        rc = live(&w, &err);
    if (rc < 0) {
        wire_put_error(&w, 0, rc, err.text);
        wire_drain(&w, true, NULL);
    }
    wire_fini(&w);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
