/* SPDX-License-Identifier: Apache-2.0 */
/* mounts.c - see mounts.h */
#include "vce/mounts.h"

#include "base/file.h"
#include "base/mem.h"

#include <linux/mount.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <sys/mount.h> and <linux/mount.h> of Debian 12 cannot both be included. */
int mount(const char *source, const char *target, const char *type, unsigned long flags,
          const void *data);
int umount2(const char *target, int flags);
#define DETACH 2

#define CLOSED_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* Any folder that is there will do: the new root only rests on it until it becomes the root. */
static const char *mount_somewhere(void)
{
    static const char *const places[] = {"/tmp", "/proc", "/sys", "/dev", "/usr", "/mnt"};

    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
        if (mount("llmos", places[i], "tmpfs", CLOSED_FLAGS, "mode=0555,size=4k,nr_inodes=2") == 0)
            return places[i];
    return NULL;
}

/* In a chroot "/" is no mount point: pivot_root cannot work, and what we mounted on a folder could
 * appear outside.  A mount that is attached nowhere does not. */
static int hide_root(struct llmos_error *err)
{
    CLEANUP(fd) int context = (int)syscall(__NR_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    CLEANUP(fd) int root = -1;

    if (context < 0 || syscall(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return fail_errno(err, "cannot make an empty root");
    root =
        (int)syscall(__NR_fsmount, context, FSMOUNT_CLOEXEC,
                     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0 || fchdir(root) < 0 || chroot(".") < 0)
        return fail_errno(err, "cannot enter an empty root");
    return 1;
}

static int replace_root(struct llmos_error *err)
{
    const char *place = mount_somewhere();

    if (!place)
        return fail_errno(err, "cannot mount an empty root");
    if (chdir(place) < 0)
        return fail_errno(err, "cannot enter the empty root");
    /* New and old root at the same place: the old one lies on top and is taken off.  The first root
     * of a machine (an initramfs, as in small virtual machines) cannot be taken off. */
    if (syscall(__NR_pivot_root, ".", ".") < 0)
        return hide_root(err);
    if (umount2(".", DETACH) < 0 || chdir("/") < 0)
        return fail_errno(err, "cannot put an empty root in place of '/'");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | CLOSED_FLAGS, NULL) < 0)
        return fail_errno(err, "cannot make the empty root read-only");
    return 0;
}

int mounts_empty_root(struct llmos_error *err)
{
    /* What we mount must not appear outside. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return hide_root(err);
    return replace_root(err);
}
