/* SPDX-License-Identifier: Apache-2.0 */
/* launch.h - start a program in a virtual computing environment (VCE), seen from outside.
 *
 * vce_start runs llmos-vce (a small single-threaded program: a threaded daemon must not clone and
 * then allocate), tells it over a descriptor what to build, and waits for its report.  llmos-vce
 * builds the room and becomes the engine in it.  The engine finds two descriptors: VCE_SOCKET_FD, a
 * stream socket to us, and VCE_MODEL_FD, the model file opened read-only (absent if model_fd was
 * -1); VCE_DRAFT_FD, a second model, and those of `files`, if there are any.  Its environment is
 * empty.
 *
 * The engine's first act, before it reads a byte of either, is seal() (seal.h), which drops the
 * last rights that starting needed.
 *
 * Every layer is on unless it is in `skip`, which exists for tests and for machines whose owner
 * decided so. A layer that the kernel refuses is reported by name and reason; vce_start fails only
 * if what `required` demands does not hold.  Calls on one struct vce come from one thread at a
 * time. */
#ifndef VCE_LAUNCH_H
#define VCE_LAUNCH_H

#include "base/fail.h"
#include "vce/cgroup.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VCE_SOCKET_FD 3
#define VCE_MODEL_FD  4
#define VCE_DRAFT_FD  5
/* 6 and 7 are used up by starting.  Further files, each under the number that says what it is: */
#define VCE_PACKED_FD 8 /* packed weights of the model, to read */
#define VCE_OUTPUT_FD \
    9 /* what is to be written: packed weights, a quantised or converted model, ... */
#define VCE_IMPORTANCE_FD 10 /* importance data for the quantiser, to read */
#define VCE_FOLDER_FD     12 /* the files of a folder, one behind the other */
/* Likewise the further parts of a model in several files, and then those of the draft model. */
#define VCE_PARTS_FD VCE_FOLDER_FD

#define VCE_FOLDER_FILES_MAX 144 /* 128 shards and what stands beside them */
#define VCE_FILE_FD_FIRST    VCE_PACKED_FD
#define VCE_FILE_FD_END      (VCE_FOLDER_FD + VCE_FOLDER_FILES_MAX)

/* name, what it promises (shown by llmos ps --isolation) */
#define VCE_LAYERS(X)                                                                              \
    X(USER, "user", "user namespace: root inside is nobody outside")                               \
    X(MOUNT, "mount", "mount namespace: an empty read-only root")                                  \
    X(PID, "pid", "pid namespace: no other process can be seen or signalled")                      \
    X(NET, "net", "network namespace: no interface, not even loopback")                            \
    X(IPC, "ipc", "ipc namespace: no shared memory or queues of others")                           \
    X(UTS, "uts", "uts namespace: its own host name")                                              \
    X(CGROUP, "cgroup", "cgroup namespace: the limits of others cannot be seen")                   \
    X(CAPS, "caps", "no capability in any set")                                                    \
    X(NO_NEW_PRIVS, "no_new_privs", "no program can gain rights")                                  \
    X(LANDLOCK, "landlock", "Landlock: no file, no TCP, no abstract socket, no signal")            \
    X(SECCOMP, "seccomp", "seccomp: an allow-list of system calls, anything else ends the engine") \
    X(MDWE, "mdwe", "memory is never writable and executable")                                     \
    X(RLIMITS, "rlimits", "no core dump, bounded memory, descriptors, processes and file size")    \
    X(LIMITS, "limits", "cgroup limits on memory, processes and processor time")

enum vce_layer {
#define VCE_LAYER_ENUM(id, name, promise) VCE_##id,
    VCE_LAYERS(VCE_LAYER_ENUM)
#undef VCE_LAYER_ENUM
        VCE_LAYER_COUNT
};
#define VCE_BIT(layer) (1u << (layer))

struct vce_layer_state {
    bool holds;
    char detail[160]; /* "cgroup v1", "abi 7"; if it does not hold: why */
};

/* A regular file for the engine beside its model. */
struct vce_file {
    const char *name; /* in errors: "packed weights" */
    int as;           /* VCE_PACKED_FD, ... */
    int fd;           /* stays the caller's */
    /* 0: it is opened for reading only.  Else for writing only, and the engine cannot make it (nor
     * any file) longer than this. */
    uint64_t write_max_bytes;
};

struct vce_options {
    const char *launcher_path; /* llmos-vce */
    const char *engine_path;   /* an executable; opened here, executed by descriptor */
    const char *name;          /* for cgroup and host name: [a-z0-9-], at most 32 */
    int model_fd;              /* stays the caller's; -1 for none */
    int draft_fd;              /* the same of a second model; 0 or less: none */
    const struct vce_file *files;
    unsigned file_count;
    bool is_background;        /* served last where processors are scarce (nice 19) */
    uint64_t memory_max_bytes; /* private memory of the engine; 0: no limit */
    unsigned cpu_percent;      /* of one core: 150 is one and a half; 0: no limit */
    unsigned skip;             /* VCE_BITs of layers not even tried */
    unsigned required;         /* VCE_BITs that must hold */
    /* The default rule: user+mount+net namespaces or Landlock, and seccomp.  Otherwise only
     * `required`. */
    bool require_default;
    unsigned start_timeout_ms; /* 0: 5000 */
};

struct vce {
    pid_t pid;
    int pidfd;                        /* readable when the engine has ended */
    int socket;                       /* stream, close-on-exec, blocking */
    char cgroup[CGROUP_FOLDERS_SIZE]; /* folders to remove at the end, internal */
    struct vce_layer_state layers[VCE_LAYER_COUNT];
};

const char *vce_layer_name(enum vce_layer layer);
const char *vce_layer_promise(enum vce_layer layer);
int vce_layer_by_name(const char *name); /* -1 if there is none */

/* On success the engine has been executed; it may still fail to load its model, which it says on
 * the socket.  LLMOS_EDENIED: a required layer does not hold, and the text says which and why. */
int vce_start(struct vce *v, const struct vce_options *options, struct llmos_error *err);

/* True if the engine has ended; how says it in words: "exited with 1", "killed by SIGSYS (forbidden
 * system call)", "killed by SIGKILL (out of memory)". */
bool vce_ended(struct vce *v, char *how, size_t how_size);

/* Kills the engine if it still runs, reaps it, removes its cgroup, closes descriptors.  Safe on a
 * zeroed or already finished struct. */
void vce_fini(struct vce *v);

/* Finds a helper program: $LLMOS_LIBEXEC/NAME, beside the running program, or ../libexec/llmos/NAME
 * from there.  LLMOS_ENOTFOUND says where it looked. */
int vce_find_program(const char *name, char *path, size_t size, struct llmos_error *err);

#endif
