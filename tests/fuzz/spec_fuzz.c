/* SPDX-License-Identifier: Apache-2.0 */
/* spec_fuzz.c - what the launcher is told, and what it answers. */
#include "vce/spec.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever was accepted is written again and must be read again as the same. */
static void check_spec(struct str text)
{
    static struct spec s, again;
    struct buf out;

    memset(&s, 0, sizeof(s));
    memset(&again, 0, sizeof(again));
    if (spec_parse(&s, text, NULL) < 0)
        return;
    buf_init(&out, SPEC_BYTES_MAX);
    spec_put(&out, &s);
    /* Control characters grow sixfold in JSON, so not all that was read fits when it is written. */
    if (!out.bad &&
        (spec_parse(&again, buf_str(&out), NULL) < 0 || strcmp(s.name, again.name) != 0 ||
         s.skip != again.skip || s.required != again.required ||
         s.require_default != again.require_default ||
         s.memory_max_bytes != again.memory_max_bytes || s.mapped_bytes != again.mapped_bytes ||
         s.write_max_bytes != again.write_max_bytes || s.is_background != again.is_background ||
         strcmp(s.cgroup, again.cgroup) != 0 || strcmp(s.limits_detail, again.limits_detail) != 0))
        abort();
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct report r;
    struct str text = {(const char *)data, size};
    struct llmos_error err;

    check_spec(text);
    memset(&r, 0, sizeof(r));
    if (report_parse(&r, text, &err) == 0 && r.is_complete)
        spec_check_required(&(struct spec){.require_default = true}, r.layers, &err);
    return 0;
}
