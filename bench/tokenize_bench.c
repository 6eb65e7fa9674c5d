/* SPDX-License-Identifier: Apache-2.0 */
/* tokenize_bench.c - how fast a vocabulary opens and cuts a text: the best of several runs, since
 * other programs only ever make one slower.
 *
 *     build/bench/tokenize_bench MODEL TEXT [SECONDS] */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "llmos/model.h"
#include "llmos/tokenizer.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static double seconds_since(uint64_t start)
{
    return (double)(clock_ns() - start) * 1e-9;
}

/* The last of the models opened stays open. */
static llmos_model *open_often(int fd, double seconds, double *best, struct llmos_error *err)
{
    uint64_t begin = clock_ns();
    llmos_model *m = NULL;

    *best = (double)INFINITY;
    do {
        uint64_t start = clock_ns();

        llmos_model_close(m);
        m = NULL;
        start = clock_ns();
        if (llmos_model_open_vocabulary_fd(&m, fd, err) < 0)
            return NULL;
        *best = fmin(*best, seconds_since(start));
    } while (seconds_since(begin) < seconds);
    return m;
}

static long cut_often(const llmos_tokenizer *t, const struct file_map *text, double seconds,
                      double *best, struct llmos_error *err)
{
    int32_t *tokens = mem_alloc((text->len + 16) * sizeof(*tokens));
    uint64_t begin = clock_ns();
    long n;

    *best = (double)INFINITY;
    do {
        uint64_t start = clock_ns();

        n = llmos_tokenize(t, (const char *)text->at, text->len, 0, tokens, text->len + 16, err);
        *best = fmin(*best, seconds_since(start));
    } while (n >= 0 && seconds_since(begin) < seconds);
    mem_free(tokens);
    return n;
}

int main(int argc, char **argv)
{
    double seconds = argc > 3 ? atof(argv[3]) : 2, opening, cutting;
    int model = argc > 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    int file = argc > 2 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
    struct llmos_error err = {0};
    struct file_map text;
    llmos_model *m;
    long n;

    if (model < 0 || file < 0) {
        fprintf(stderr, "usage: tokenize_bench MODEL TEXT [SECONDS]\n");
        return 1;
    }
    m = file_map(&text, file, &err) < 0 ? NULL : open_often(model, seconds / 2, &opening, &err);
    n = m ? cut_often(llmos_model_tokenizer(m), &text, seconds, &cutting, &err) : -1;
    if (n < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("opened in %.2f ms; %zu bytes became %ld tokens, %.1f MB/s\n", opening * 1e3, text.len,
           n, (double)text.len / cutting * 1e-6);
    llmos_model_close(m);
    file_unmap(&text);
    close(file);
    close(model);
    return 0;
}
