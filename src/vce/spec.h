/* SPDX-License-Identifier: Apache-2.0 */
/* spec.h - what the launcher is told (a spec) and what it answers (a report), as JSON.
 *
 * Both are at most SPEC_BYTES_MAX long, keys that are not known are refused, and so are values out
 * of range.  A report is two lines: {"pid": N} as soon as the engine's process exists, then either
 * {"layers": {NAME: {"holds": B, "detail": T}, ...}} or {"error": {"code": N, "text": T}}. */
#ifndef VCE_SPEC_H
#define VCE_SPEC_H

#include "base/buf.h"
#include "vce/launch.h"

#define SPEC_BYTES_MAX   16384
#define SPEC_NAME_MAX    32
#define SPEC_DETAIL_SIZE 160 /* as vce_layer_state's */

struct spec {
    char name[SPEC_NAME_MAX + 1];
    unsigned skip, required; /* VCE_BITs */
    bool require_default;
    bool is_background;
    uint64_t memory_max_bytes;
    uint64_t mapped_bytes;                 /* of the files that are there to be read */
    uint64_t write_max_bytes;              /* the longest file that may be written; 0: none */
    char cgroup[CGROUP_FOLDERS_SIZE];      /* to be joined */
    char limits_problem[SPEC_DETAIL_SIZE]; /* why the limits do not hold; "" if they do */
    char limits_detail[SPEC_DETAIL_SIZE];
};

struct report {
    pid_t pid; /* 0: it did not come to a process */
    bool is_complete;
    struct llmos_error error; /* code 0: none */
    struct vce_layer_state layers[VCE_LAYER_COUNT];
};

/* Copies a sentence into a detail, cut between two characters if it is too long. */
void spec_set_detail(char detail[SPEC_DETAIL_SIZE], const char *text);

/* [a-z0-9-], 1 to 32 characters. */
bool spec_name_is_valid(const char *name);

void spec_put(struct buf *out, const struct spec *s);
int spec_parse(struct spec *s, struct str text, struct llmos_error *err);

void report_put_pid(struct buf *out, pid_t pid);
void report_put_layers(struct buf *out, const struct vce_layer_state layers[VCE_LAYER_COUNT]);
void report_put_error(struct buf *out, const struct llmos_error *error);
int report_parse(struct report *r, struct str text, struct llmos_error *err);

/* LLMOS_EDENIED with the names and reasons if what is required does not hold. */
int spec_check_required(const struct spec *s, const struct vce_layer_state layers[VCE_LAYER_COUNT],
                        struct llmos_error *err);

#endif
