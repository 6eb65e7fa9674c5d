/* SPDX-License-Identifier: Apache-2.0 */
/* config_fuzz.c - any bytes as llmos.yaml: refused with a sentence, or a configuration whose values
 * are in range. */
#include "daemon/config.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config c;
    struct llmos_error err = {0};
    int rc;

    config_init(&c);
    rc = config_load(&c, (struct str){(const char *)data, size}, "x/fuzz.yaml", &err);
    if (rc < 0 && (err.code != rc || !err.text[0]))
        abort();
    if (rc == 0) {
        if (c.port > 65535 || c.model_count > SUPERVISE_MODELS_MAX || c.queue < 1 || c.queue > 1024)
            abort();
        for (unsigned i = 0; i < c.model_count; i++)
            if (!c.models[i].name[0] || !c.models[i].model_path[0] ||
                c.models[i].setup.sessions_max < 1)
                abort();
    }
    config_fini(&c);
    return 0;
}
