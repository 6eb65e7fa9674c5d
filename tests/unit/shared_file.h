/* SPDX-License-Identifier: Apache-2.0 */
/* shared_file.h - real models and texts that are not part of the repository: found in the folder
 * $LLMOS_SHARED, else in "shared" beside the source tree; a test that lacks them skips. */
#ifndef TESTS_SHARED_FILE_H
#define TESTS_SHARED_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct shared_path {
    char text[1024];
};

/* The path of a file under the folder; "" if it is not there. */
static struct shared_path shared_file(const char *name)
{
    const char *folder = getenv("LLMOS_SHARED"), *source = getenv("LLMOS_SOURCE");
    struct shared_path path;
    int n;

    if (folder)
        n = snprintf(path.text, sizeof(path.text), "%s/%s", folder, name);
    else
        n = snprintf(path.text, sizeof(path.text), "%s/../shared/%s", source ? source : ".", name);
    if (n < 0 || (size_t)n >= sizeof(path.text) || access(path.text, R_OK) != 0)
        path.text[0] = '\0';
    return path;
}

#endif
