/* SPDX-License-Identifier: Apache-2.0 */
/* packfile_test.c - files of packed weights: made, used, damaged, refused. */
#include "test.h"

#include "base/mem.h"
#include "llmos/session.h"
#include "model/loaded.h"
#include "model/packfile.h"
#include "modelfile.h"
#include "tensor/backend.h"
#include "tensor/cpu.h"
#include "tensor/packed.h"

#include <sys/mman.h>
#include <sys/stat.h>

static void needs_packing(void)
{
    if (!backend_best()->reads_packed)
        SKIP("the kernels for this processor read no packed weights");
}

static struct synth_options small(enum dtype type)
{
    struct synth_options o;

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    o.type = type;
    return o;
}

static int file_of(const llmos_model *m)
{
    struct llmos_error err = {0};
    int fd = memfd_create("packed", MFD_CLOEXEC);
    struct stat st;

    CHECK(fd >= 0);
    if (packfile_write(fd, m, NULL, NULL, &err) < 0)
        TEST_FAIL("%s", err.text);
    CHECK(fstat(fd, &st) == 0 && (uint64_t)st.st_size == packfile_bytes(m));
    return fd;
}

static void generate(const llmos_model *m, int32_t *tokens, size_t count)
{
    struct llmos_context_options options = LLMOS_CONTEXT_OPTIONS_INIT;
    struct llmos_sampling greedy = LLMOS_SAMPLING_INIT;
    static const int32_t prompt[] = {1, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120};
    struct llmos_error err = {0};
    llmos_context *c;
    llmos_session *s;

    options.context_tokens = 128;
    options.threads = 2;
    greedy.temperature = 0;
    CHECK_INT(llmos_context_create(&c, m, &options, &err), 0);
    CHECK_INT(llmos_session_create(&s, c, &greedy, &err), 0);
    CHECK_INT(llmos_session_append(s, prompt, sizeof(prompt) / sizeof(*prompt), &err), 0);
    for (size_t i = 0; i < count;) {
        struct llmos_step_out out;

        CHECK_INT(llmos_context_step(c, &s, 1, &out, &err), 0);
        if (out.token >= 0)
            tokens[i++] = out.token;
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
}

TEST(a_model_says_the_same_with_packed_weights)
{
    static const enum dtype types[] = {DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q5_1};

    needs_packing();
    for (size_t i = 0; i < 6; i++) {
        struct synth_options o = small(types[i / 2]);
        int32_t plain[40], packed[40];
        struct llmos_error err = {0};
        llmos_model *m;
        bool stays;
        int fd;

        o.tied_output = i % 2;
        o.hidden = i % 2 ? 2 * PACKED_STRIP + 288 : o.hidden; /* of several strips */
        m = modelfile_open_synth(&o);
        CHECK(packfile_helps(m));
        stays = packfile_bytes(m) <= cpu_cache_bytes() / 3;
        generate(m, plain, 40);
        fd = file_of(m);
        CHECK_INT(packfile_use(m, fd, NULL, &err), 0);
        close(fd); /* the map stays */
        CHECK(m->weights.model[WEIGHT_OUTPUT]->is_packed && m->weights.layers[1]->is_packed);
        CHECK(m->weights.layers[1]->stays_cached == stays);
        CHECK(!m->weights.model[WEIGHT_EMBED]->is_packed && !m->weights.layers[0]->is_packed);
        generate(m, packed, 40);
        CHECK(memcmp(plain, packed, sizeof(plain)) == 0);
        llmos_model_close(m);
    }
}

TEST(models_of_f32_are_not_packed)
{
    struct synth_options o = small(DTYPE_F32);
    llmos_model *m = modelfile_open_synth(&o);
    struct llmos_error err = {0};
    int fd = memfd_create("packed", MFD_CLOEXEC);

    CHECK(!packfile_helps(m));
    CHECK_INT(packfile_write(fd, m, NULL, NULL, &err), LLMOS_EUNSUPPORTED);
    CHECK_INT(packfile_use(m, fd, NULL, &err), LLMOS_EUNSUPPORTED);
    close(fd);
    llmos_model_close(m);
}

static void refused(llmos_model *m, int fd, const char *why)
{
    struct llmos_error err = {0};

    CHECK_INT(packfile_use(m, fd, NULL, &err), LLMOS_EFORMAT);
    if (!strstr(err.text, why))
        TEST_FAIL("'%s' does not say '%s'", err.text, why);
    CHECK(!m->packed_map.at && !m->weights.layers[1]->is_packed);
}

static void flip(int fd, off_t at)
{
    char byte;

    CHECK(pread(fd, &byte, 1, at) == 1);
    byte ^= 0x10;
    CHECK(pwrite(fd, &byte, 1, at) == 1);
}

TEST(damage_is_noticed_wherever_it_is)
{
    struct synth_options o = small(DTYPE_Q4_0);
    llmos_model *m = modelfile_open_synth(&o);
    struct llmos_error err = {0};
    off_t size;
    int fd;

    needs_packing();
    fd = file_of(m);
    size = lseek(fd, 0, SEEK_END);
    for (off_t at = 0; at < size; at += at < 4096 ? 1 : 997) {
        flip(fd, at);
        refused(m, fd, at < 12 ? "version" : "");
        flip(fd, at);
    }
    for (off_t cut = size - 1; cut > 0; cut = cut * 2 / 3) {
        int shorter = memfd_create("cut", MFD_CLOEXEC);
        char *bytes = malloc((size_t)cut);

        CHECK(bytes && pread(fd, bytes, (size_t)cut, 0) == cut);
        CHECK(pwrite(shorter, bytes, (size_t)cut, 0) == cut);
        refused(m, shorter, "");
        free(bytes);
        close(shorter);
    }
    CHECK(pwrite(fd, "x", 1, size) == 1);
    refused(m, fd, "are needed");
    CHECK(ftruncate(fd, 0) == 0);
    CHECK_INT(packfile_use(m, fd, NULL, &err), LLMOS_EFORMAT);
    close(fd);
    llmos_model_close(m);
}

TEST(two_swapped_words_are_noticed)
{
    struct synth_options o = small(DTYPE_Q8_0);
    llmos_model *m = modelfile_open_synth(&o);
    char a[8], b[8];
    off_t at, far;
    int fd;

    needs_packing();
    fd = file_of(m);
    at = lseek(fd, 0, SEEK_END) / 2 / 64 * 64;
    far = at + 64 * 5; /* the same lane of the checksum */
    CHECK(pread(fd, a, 8, at) == 8 && pread(fd, b, 8, far) == 8 && memcmp(a, b, 8) != 0);
    CHECK(pwrite(fd, b, 8, at) == 8 && pwrite(fd, a, 8, far) == 8);
    refused(m, fd, "checksum");
    close(fd);
    llmos_model_close(m);
}

TEST(a_file_of_another_model_is_refused)
{
    struct synth_options o = small(DTYPE_Q8_0), other = small(DTYPE_Q8_0),
                         types = small(DTYPE_Q4_0);
    llmos_model *m = modelfile_open_synth(&o), *wider, *typed;
    int fd;

    needs_packing();
    other.hidden += 64;
    wider = modelfile_open_synth(&other);
    typed = modelfile_open_synth(&types);
    fd = file_of(wider);
    refused(m, fd, "another model");
    close(fd);
    fd = file_of(typed);
    refused(m, fd, "another model");
    close(fd);
    llmos_model_close(wider);
    llmos_model_close(typed);
    llmos_model_close(m);
}

static int stop_at_once(void *arg, uint64_t done, uint64_t total)
{
    CHECK(done <= total);
    (*(int *)arg)++;
    return LLMOS_ECANCELED;
}

TEST(packing_stops_when_asked_and_leaves_no_valid_file)
{
    struct synth_options o = small(DTYPE_Q8_0);
    llmos_model *m = modelfile_open_synth(&o);
    int fd = memfd_create("packed", MFD_CLOEXEC), calls = 0;
    struct llmos_error err = {0};

    needs_packing();
    CHECK_INT(packfile_write(fd, m, stop_at_once, &calls, &err), LLMOS_ECANCELED);
    CHECK_INT(calls, 1);
    CHECK(packfile_use(m, fd, NULL, &err) < 0);
    close(fd);
    llmos_model_close(m);
}

TEST(a_descriptor_that_takes_no_bytes_is_an_error)
{
    struct synth_options o = small(DTYPE_Q8_0);
    llmos_model *m = modelfile_open_synth(&o);
    struct llmos_error err = {0};
    int fd;

    needs_packing();
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(packfile_write(fd, m, NULL, NULL, &err) < 0);
    CHECK(strstr(err.text, "cannot write packed weights"));
    close(fd);
    llmos_model_close(m);
}

TEST(packing_survives_every_failed_allocation)
{
    struct synth_options o = small(DTYPE_Q8_0);
    llmos_model *m = modelfile_open_synth(&o);
    struct llmos_error err = {0};
    int fd, rc;

    needs_packing();
    fd = memfd_create("packed", MFD_CLOEXEC);
    for (unsigned long n = 1;; n++) {
        mem_fail_at(n);
        rc = packfile_write(fd, m, NULL, NULL, &err);
        if (!mem_failed())
            break;
        CHECK_INT(rc, LLMOS_ENOMEM);
    }
    mem_fail_at(0);
    CHECK_INT(rc, 0);
    for (unsigned long n = 1;; n++) {
        mem_fail_at(n);
        rc = packfile_use(m, fd, NULL, &err);
        if (!mem_failed())
            break;
        CHECK_INT(rc, LLMOS_ENOMEM);
    }
    mem_fail_at(0);
    CHECK_INT(rc, 0);
    close(fd);
    llmos_model_close(m);
}
