/* SPDX-License-Identifier: Apache-2.0 */
/* parts_test.c - a model in several files is the model in one, or is refused with a sentence. */
#include "base/file.h"
#include "base/mem.h"
#include "llmos/llmos.h"
#include "model/inspect.h"
#include "model/loaded.h"

#include "test.h"

#include "modelfile.h"
#include "splitfile.h"

#include <limits.h>
#include <sys/stat.h>

#define PARTS_TESTED 3

/* A whole model, and as many parts of it as a test wants, each in a file without a name. */
struct split {
    unsigned char *bytes;
    size_t n;
    struct gguf g;
    struct splitfile_keys keys[GGUF_PARTS_MAX];
    size_t begin[GGUF_PARTS_MAX + 1];
    int fds[GGUF_PARTS_MAX];
    unsigned count;
};

static const struct synth_options tiny = {2,   16,        2, 1,     16,   40,
                                          300, DTYPE_F32, 7, false, true, false};

static struct split split_plan(unsigned count)
{
    struct split s = {.count = count};

    s.bytes = modelfile_bytes(modelfile_synth(&tiny), &s.n);
    CHECK_INT(gguf_parse(&s.g, s.bytes, s.n, NULL), 0);
    for (unsigned i = 0; i < count; i++) {
        s.keys[i] = splitfile_keys(&s.g, i, count);
        s.begin[i] = splitfile_begin(&s.g, i, count);
    }
    s.begin[count] = s.g.tensor_count;
    return s;
}

static void split_write(struct split *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        s->fds[i] = modelfile_fd("", 0);
        CHECK_INT(splitfile_write(s->fds[i], &s->g, &s->keys[i], s->begin[i], s->begin[i + 1]), 0);
    }
}

static struct split split_into(unsigned count)
{
    struct split s = split_plan(count);

    split_write(&s);
    return s;
}

static void split_free(struct split *s)
{
    for (unsigned i = 0; i < s->count; i++)
        close(s->fds[i]);
    gguf_fini(&s->g);
    free(s->bytes);
}

/* --- names --- */

TEST(the_name_of_a_part_is_known)
{
    static const struct {
        const char *path;
        size_t stem;
    } cases[] = {
        {"m-00001-of-00003.gguf", 1},
        {"/a/b-00128-of-00128.gguf", 4},
        {"a-00001-of-00001.gguf", 1},
        {"m-00000-of-00003.gguf", 0}, /* they count from 1 */
        {"m-00004-of-00003.gguf", 0},
        {"m-0001-of-0003.gguf", 0},
        {"m-00001-of-00003.ggu", 0},
        {"m-00001-of-0000x.gguf", 0},
        {"m_00001-of-00003.gguf", 0},
        {"m-00001-of_00003.gguf", 0},
        {"-00001-of-00003.gguf", 0}, /* of nothing */
        {"/m/-00001-of-00003.gguf", 0},
        {"m.gguf", 0},
        {"", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_INT(parts_stem(cases[i].path), cases[i].stem);
}

TEST(the_first_part_follows_from_any)
{
    char first[64];

    CHECK_INT(parts_first("/a/m-00002-of-00003.gguf", first, sizeof(first), NULL), 0);
    CHECK_STR(first, "/a/m-00001-of-00003.gguf");
    CHECK_INT(parts_first("m.gguf", first, sizeof(first), NULL), 0);
    CHECK_STR(first, "m.gguf");
    CHECK_INT(parts_first("m-00002-of-00003.gguf", first, 20, NULL), LLMOS_ELIMIT);
}

/* --- files --- */

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static const char *part_name(unsigned i, unsigned count)
{
    char name[64];

    snprintf(name, sizeof(name), "m-%05u-of-%05u.gguf", i + 1, count);
    return in_folder(name);
}

static void folder_make(const struct split *s)
{
    strcpy(folder, "/tmp/llmos-parts-XXXXXX");
    CHECK(mkdtemp(folder));
    for (unsigned i = 0; i < s->count; i++) {
        struct splitfile_keys keys = s->keys[i];
        int fd = open(part_name(i, s->count), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        CHECK(fd >= 0);
        CHECK_INT(splitfile_write(fd, &s->g, &keys, s->begin[i], s->begin[i + 1]), 0);
        close(fd);
    }
}

static void folder_remove(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        unlink(part_name(i, count));
    rmdir(folder);
}

TEST(all_parts_are_opened_by_the_path_of_any)
{
    struct split s = split_into(3);
    struct parts p;
    uint64_t bytes = 0;

    folder_make(&s);
    for (unsigned i = 0; i < 3; i++) {
        struct stat opened, named;

        CHECK_INT(parts_open(&p, part_name(i, 3), NULL), 0);
        CHECK_INT(p.count, 3);
        for (unsigned k = 0; k < 3; k++) {
            CHECK(fstat(p.fds[k], &opened) == 0 && stat(part_name(k, 3), &named) == 0);
            CHECK_INT(opened.st_ino, named.st_ino);
            bytes += i ? 0 : (uint64_t)opened.st_size;
        }
        CHECK_INT(p.bytes, bytes);
        parts_close(&p);
    }
    CHECK_INT(parts_bytes(part_name(1, 3)), bytes);
    folder_remove(3);
    split_free(&s);
}

TEST(a_part_that_is_missing_is_named)
{
    struct split s = split_into(3);
    struct llmos_error err = {0};
    struct parts p;

    folder_make(&s);
    unlink(part_name(1, 3));
    CHECK_INT(parts_open(&p, part_name(2, 3), &err), LLMOS_ENOTFOUND);
    CHECK_INT(p.count, 0);
    CHECK_CONTAINS(err.text, "part 2 of 3 of the model is missing");
    CHECK_CONTAINS(err.text, "m-00002-of-00003.gguf");
    CHECK(mkdir(part_name(1, 3), 0700) == 0);
    CHECK_INT(parts_open(&p, part_name(0, 3), &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "part 2 of 3");
    CHECK_CONTAINS(err.text, "it is a directory");
    rmdir(part_name(1, 3));
    CHECK_INT(parts_open(&p, in_folder("m-00001-of-00129.gguf"), &err), LLMOS_ELIMIT);
    CHECK_CONTAINS(err.text, "one of 129 parts, at most 128 are accepted");
    CHECK_INT(parts_open(&p, in_folder("absent.gguf"), &err), LLMOS_ENOTFOUND);
    CHECK_INT(parts_bytes(in_folder("absent.gguf")), 0);
    folder_remove(3);
    split_free(&s);
}

/* --- what is in them --- */

static int parse(const struct split *s, struct llmos_error *err)
{
    struct parts_map map;
    struct gguf g;
    int rc;

    CHECK_INT(parts_map(&map, s->fds, s->count, NULL), 0);
    rc = gguf_parse_parts(&g, map.maps, map.count, err);
    if (rc == 0)
        gguf_fini(&g);
    parts_unmap(&map);
    return rc;
}

static void check_same_tensors(const struct gguf *g, const struct gguf *whole)
{
    CHECK_INT(g->tensor_count, whole->tensor_count);
    for (size_t i = 0; i < whole->tensor_count; i++) {
        const struct gguf_tensor *a = &whole->tensors[i];
        char name[256];
        const struct gguf_tensor *b;

        snprintf(name, sizeof(name), "%.*s", STR_ARG(a->name));
        b = gguf_find_tensor(g, name);
        CHECK(b && b->type_id == a->type_id && b->bytes == a->bytes);
        CHECK(memcmp(b->t.shape, a->t.shape, sizeof(a->t.shape)) == 0);
        CHECK(memcmp(b->t.data, a->t.data, a->bytes) == 0);
    }
}

TEST(parts_hold_what_the_whole_holds)
{
    for (unsigned count = 1; count <= 20; count++) {
        struct split s = split_into(count);
        struct parts_map map;
        size_t bytes = 0;
        struct gguf g;

        CHECK_INT(parts_map(&map, s.fds, count, NULL), 0);
        CHECK_INT(gguf_parse_parts(&g, map.maps, count, NULL), 0);
        CHECK_INT(g.part_count, count);
        CHECK_INT(gguf_check_whole(&g, NULL), 0);
        check_same_tensors(&g, &s.g);
        for (unsigned i = 0; i < count; i++) {
            CHECK_INT(g.part_bytes[i], map.maps[i].len);
            bytes += map.maps[i].len;
        }
        CHECK_INT(g.file_bytes, bytes);
        gguf_fini(&g);
        parts_unmap(&map);
        split_free(&s);
    }
}

/* gguf-split can leave the first part without tensors. */
TEST(a_part_may_have_no_tensors)
{
    struct split s = split_plan(3);

    s.begin[1] = 0;
    split_write(&s);
    CHECK_INT(parse(&s, NULL), 0);
    split_free(&s);
}

static void swap(struct split *s)
{
    s->keys[1].no = 2;
    s->keys[2].no = 1;
}

static void count_more(struct split *s)
{
    s->keys[1].count = 4;
}

static void say_nothing(struct split *s)
{
    s->keys[2].count = 0;
    s->keys[2].no = 0;
}

static void two_firsts(struct split *s)
{
    s->keys[1] = s->keys[0];
}

static void promise_more(struct split *s)
{
    s->keys[0].tensors++;
}

static void disagree(struct split *s)
{
    s->keys[2].tensors--;
}

static void promise_nothing(struct split *s)
{
    s->keys[0].tensors = -1;
}

static void other_architecture(struct split *s)
{
    s->keys[1].other = "gpt2";
}

static const struct {
    void (*spoil)(struct split *s);
    const char *text;
} hostile[] = {
    {swap, "part 2 of 3: by its keys it is part 3 of 3"},
    {count_more, "part 2 of 3: by its keys it is part 2 of 4"},
    {say_nothing, "part 3 of 3: by its keys it is part 1 of 1"},
    {two_firsts, "part 2 of 3: by its keys it is part 1 of 3"},
    {promise_more, "part 1 of 3: it promises"},
    {disagree, "part 3 of 3: it promises"},
    {promise_nothing, "no key 'split.tensors.count'"},
    {other_architecture, "part 2 of 3: its architecture is 'gpt2'"},
};

TEST(parts_that_disagree_are_refused)
{
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        struct split s = split_plan(3);
        struct llmos_error err = {0};

        hostile[i].spoil(&s);
        split_write(&s);
        CHECK_INT(parse(&s, &err), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, hostile[i].text);
        split_free(&s);
    }
}

TEST(a_tensor_in_two_parts_is_refused)
{
    struct split s = split_plan(3);
    struct llmos_error err = {0};

    for (unsigned i = 0; i < 3; i++) {
        s.keys[i].tensors = (int64_t)s.g.tensor_count + 1;
        s.fds[i] = modelfile_fd("", 0);
        CHECK_INT(
            splitfile_write(s.fds[i], &s.g, &s.keys[i], s.begin[i] - (i == 2), s.begin[i + 1]), 0);
    }
    CHECK_INT(parse(&s, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "stands in part 2 and part 3");
    split_free(&s);
}

TEST(a_cut_part_is_named)
{
    struct split s = split_into(3);
    struct llmos_error err = {0};

    CHECK(ftruncate(s.fds[1], 40) == 0);
    CHECK_INT(parse(&s, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "part 2 of 3: ");
    CHECK(ftruncate(s.fds[1], 0) == 0);
    CHECK_INT(parts_map(&(struct parts_map){.count = 0}, s.fds, 3, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "part 2 of 3: the file is empty");
    split_free(&s);
}

/* --- what they say --- */

static void say(llmos_model *m, char *text, size_t size)
{
    const struct llmos_context_options o = {.threads = 2, .context_tokens = 64};
    const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    struct llmos_step_out out;
    llmos_session *s;
    llmos_context *c;
    int32_t first[3] = {1, 7, 30};
    size_t n = 0;

    CHECK_INT(llmos_context_create(&c, m, &o, NULL), 0);
    CHECK_INT(llmos_session_create(&s, c, &greedy, NULL), 0);
    CHECK_INT(llmos_session_append(s, first, 3, NULL), 0);
    for (unsigned i = 0; i < 40; i++) {
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
        if (out.token >= 0)
            n += (size_t)snprintf(text + n, size - n, "%d ", out.token);
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
}

TEST(a_split_model_says_what_the_whole_says)
{
    llmos_model *m = modelfile_open_synth(&tiny);
    static const unsigned counts[] = {2, 3, 9};
    char whole[1024], split[1024];
    struct llmos_model_info info;

    say(m, whole, sizeof(whole));
    llmos_model_close(m);
    CHECK(strlen(whole) > 80);
    for (size_t i = 0; i < 3; i++) {
        struct split s = split_into(counts[i]);

        folder_make(&s);
        CHECK_INT(llmos_model_open(&m, part_name(counts[i] - 1, counts[i]), NULL), 0);
        say(m, split, sizeof(split));
        CHECK_STR(split, whole);
        llmos_model_info(m, &info);
        CHECK_INT(info.file_bytes, parts_bytes(part_name(0, counts[i])));
        llmos_model_close(m);
        folder_remove(counts[i]);
        split_free(&s);
    }
}

TEST(inspect_tells_of_the_parts)
{
    struct split s = split_into(2);
    struct llmos_error err = {0};
    size_t length;
    char *json;

    CHECK_INT(inspect_parts(s.fds, 2, &json, &length, &err), 0);
    CHECK_CONTAINS(json, "\"parts\":[{\"part\":1,\"tensors\":");
    CHECK_CONTAINS(json, "{\"part\":2,\"tensors\":");
    CHECK_CONTAINS(json, "\"runnable\":true");
    llmos_free(json);
    CHECK_INT(llmos_inspect_fd(s.fds[0], &json, &length, &err), 0); /* alone */
    CHECK_CONTAINS(json, "\"runnable\":false,\"reason\":\"the file is part 1 of 2 of a model");
    llmos_free(json);
    split_free(&s);
}

TEST(a_split_model_survives_every_failed_allocation)
{
    struct split s = split_into(PARTS_TESTED);

    for (unsigned long n = 1;; n++) {
        llmos_model *m = NULL;
        int rc;

        mem_fail_at(n);
        rc = model_open_parts(&m, s.fds, PARTS_TESTED, false, NULL);
        mem_fail_at(0);
        if (rc == 0) {
            llmos_model_close(m);
            break;
        }
        CHECK_INT(rc, LLMOS_ENOMEM);
    }
    split_free(&s);
}
