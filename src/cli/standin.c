/* SPDX-License-Identifier: Apache-2.0 */
/* standin.c - see standin.h */
#include "cli/standin.h"

#include "base/file.h"
#include "cli/halt.h"
#include "cli/screen.h"
#include "model/synth.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static bool show(void *spinner, uint64_t done, uint64_t total)
{
    spinner_bar(spinner, done, total);
    return !halt_asked();
}

static int open_kept(const char *path, struct llmos_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

    return fd < 0 ? fail_errno(err, "cannot write '%s'", path) : fd;
}

static int open_nameless(struct llmos_error *err)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder && *folder ? folder : "/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    if (fd < 0)
        fd = memfd_create("llmos-model", MFD_CLOEXEC);
    return fd < 0 ? fail_errno(err, "cannot make a temporary file for the model") : fd;
}

static int write_model(int fd, struct synth_options *o, struct llmos_error *err)
{
    struct spinner bar;
    int rc;

    spinner_start(&bar, "making the model");
    o->progress = show;
    o->cookie = &bar;
    rc = synth_write(fd, o, err);
    spinner_clear(&bar);
    return rc;
}

int standin_make(struct standin *s, const char *shape, const char *type, const char *keep,
                 struct llmos_error *err)
{
    struct synth_options o;
    int rc = synth_shape(&o, shape, err), fd;

    *s = (struct standin){.fd = -1};
    if (rc == 0)
        rc = synth_type(&o, type, err);
    if (rc < 0)
        return rc;
    fd = keep ? open_kept(keep, err) : open_nameless(err);
    if (fd < 0)
        return fd;
    if (keep && snprintf(s->path, sizeof(s->path), "%s", keep) >= (int)sizeof(s->path))
        rc = fail(err, LLMOS_ELIMIT, "the name of the file to keep is too long");
    else if (!keep)
        snprintf(s->path, sizeof(s->path), "/proc/%d/fd/%d", (int)getpid(), fd);
    if (rc == 0)
        rc = write_model(fd, &o, err);
    if (rc == 0) {
        s->fd = fd;
        return 0;
    }
    close(fd);
    if (keep)
        unlink(keep);
    return rc;
}

void standin_close(struct standin *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
