/* SPDX-License-Identifier: Apache-2.0 */
/* model_test.c - opening, describing and closing models. */
#include "test.h"

#include "base/json.h"
#include "model/loaded.h"
#include "modelfile.h"

#include <sys/stat.h>

static void folder(char path[static 64])
{
    snprintf(path, 64, "/tmp/llmos-model-XXXXXX");
    CHECK(mkdtemp(path));
}

TEST(model_opens_by_name_and_knows_its_numbers)
{
    struct synth_options o;
    struct llmos_model_info info;
    struct llmos_error err = {0};
    llmos_model *m = NULL;
    char path[64];
    int fd;

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    fd = modelfile_synth(&o);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CHECK_INT(llmos_model_open(&m, path, &err), 0);
    close(fd); /* the map stays */
    llmos_model_info(m, &info);
    CHECK_STR(info.architecture, "llama");
    CHECK_STR(info.name, "synthetic");
    CHECK_STR(info.file_type, "f32");
    CHECK_INT(info.layers, 2);
    CHECK_INT(info.heads, 4);
    CHECK_INT(info.heads_kv, 2);
    CHECK_INT(info.vocabulary, 320);
    CHECK_INT(info.context_trained, 256);
    CHECK_INT(info.kv_bytes_per_token, 2 * 2 * 2 * 16 * 2);
    CHECK_INT(info.weight_bytes, info.parameters * 4);
    CHECK(info.file_bytes > info.weight_bytes);
    CHECK_INT(llmos_token_count(llmos_model_tokenizer(m)), 320);
    llmos_model_close(m);
    llmos_model_close(NULL);
}

TEST(model_refuses_what_is_no_regular_file)
{
    static const char *const names[] = {"directory", "pipe", "loop", "absent", "empty"};
    static const char *const says[] = {"it is a directory", "it is a pipe", "Too many levels",
                                       "No such file", "the file is empty"};
    char dir[64], path[128];
    int fd;

    folder(dir);
    for (size_t i = 0; i < 5; i++) {
        struct llmos_error err = {0};
        llmos_model *m = NULL;

        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (i == 0)
            CHECK(mkdir(path, 0700) == 0);
        if (i == 1)
            CHECK(mkfifo(path, 0600) == 0);
        if (i == 2)
            CHECK(symlink(path, path) == 0);
        if (i == 4) {
            fd = open(path, O_CREAT | O_WRONLY, 0600);
            CHECK(fd >= 0);
            close(fd);
        }
        CHECK(llmos_model_open(&m, path, &err) < 0);
        CHECK_CONTAINS(err.text, says[i]);
        CHECK(!m);
        remove(path);
    }
    rmdir(dir);
}

TEST(model_refuses_a_device_as_descriptor)
{
    struct llmos_error err = {0};
    llmos_model *m = NULL;
    int fd = open("/dev/zero", O_RDONLY);

    CHECK(fd >= 0);
    CHECK_INT(llmos_model_open_fd(&m, fd, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "a character device");
    close(fd);
    CHECK_INT(llmos_model_open_fd(&m, -1, &err), LLMOS_EIO);
}

TEST(model_names_the_file_in_front_of_what_is_wrong)
{
    struct llmos_error err = {0};
    llmos_model *m = NULL;
    char path[64];
    int fd = modelfile_fd("GGUF, but what follows is a text", 32);

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CHECK(llmos_model_open(&m, path, &err) < 0);
    CHECK_CONTAINS(err.text, "cannot open model '/proc/self/fd/");
    CHECK_CONTAINS(err.text, "GGUF version");
    close(fd);
}

/* The type number of the tensor in a file's list: after its name, the number of dimensions and
 * those. */
static void change_type(unsigned char *bytes, size_t n, const char *tensor, uint32_t type)
{
    unsigned char *at = memmem(bytes, n, tensor, strlen(tensor));
    uint32_t dims;

    CHECK(at);
    at += strlen(tensor);
    memcpy(&dims, at, sizeof(dims));
    memcpy(at + sizeof(dims) + dims * sizeof(uint64_t), &type, sizeof(type));
}

TEST(model_of_a_type_that_we_cannot_compute_says_so)
{
    const struct synth_options o = {1, 256, 4, 2, 256, 320, 64, DTYPE_F32, 1, false, false, false};
    struct llmos_error err = {0};
    size_t n;
    unsigned char *bytes = modelfile_bytes(modelfile_synth(&o), &n);

    change_type(bytes, n, "token_embd.weight", 9);
    CHECK(!modelfile_open(bytes, n, &err));
    CHECK_INT(err.code, LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "tensor 'token_embd.weight' has type q8_1, which this version cannot "
                             "compute with; it can: f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q4_K "
                             "q6_K");
    free(bytes);
}

TEST(model_of_real_files_opens)
{
    static const char *const names[] = {
        "stories260K/stories260K.gguf",     "stories260K/stories260K-F16.gguf",
        "babyllama/babyllama105-F32.gguf",  "babyllama/babyllama105-Q8_0.gguf",
        "babyllama/babyllama105-Q4_0.gguf", "babyllama/babyllama105-Q5_1.gguf"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct llmos_error err = {0};
        llmos_model *m = NULL;

        if (llmos_model_open(&m, modelfile_shared(names[i]), &err) < 0)
            TEST_FAIL("%s", err.text);
        CHECK_INT(m->hparams.n_layer, 5);
        llmos_model_close(m);
    }
}

TEST(model_without_tensors_opens_for_its_vocabulary_only)
{
    const char *path = modelfile_shared("vocab/ggml-vocab-llama-spm.gguf");
    struct llmos_error err = {0};
    struct llmos_model_info info;
    llmos_model *m = NULL;

    CHECK_INT(llmos_model_open(&m, path, &err), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "the file has no tensors: it holds a vocabulary only");
    m = modelfile_open_vocabulary("vocab/ggml-vocab-llama-spm.gguf");
    CHECK(m->vocabulary_only);
    llmos_model_info(m, &info);
    CHECK_STR(info.architecture, "llama");
    CHECK_STR(info.name, "llama-spm");
    CHECK_INT(info.vocabulary, 32000);
    CHECK_INT(info.layers, 0);
    llmos_model_close(m);
}

TEST(model_with_a_tensor_that_nothing_uses_in_a_layer_is_refused)
{
    struct synth_options o = MODELFILE_SMALL;
    struct llmos_error err = {0};
    size_t n;
    unsigned char *bytes = modelfile_bytes(modelfile_synth(&o), &n);
    unsigned char *at = memmem(bytes, n, "\r\0\0\0\0\0\0\0output.weight", 8 + 13);

    CHECK(at);
    memcpy(at + 8, "blk.0.xq.bias", 13);
    CHECK(!modelfile_open(bytes, n, &err));
    CHECK_CONTAINS(err.text, "tensor 'blk.0.xq.bias' has no place in architecture 'llama'");
    free(bytes);
}

TEST(model_survives_every_failed_allocation)
{
    struct synth_options o = MODELFILE_SMALL;
    int fd = modelfile_synth(&o);

    EVERY_ALLOCATION_FAILS
    {
        llmos_model *m = NULL;
        int rc = llmos_model_open_fd(&m, fd, NULL);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        llmos_model_close(m);
    }
    close(fd);
}

/* ---- inspection ---- */

static json_t *inspect(const void *bytes, size_t n)
{
    struct json_limits limits = JSON_LIMITS_INIT;
    struct llmos_error err = {0};
    json_t *value = NULL;
    char *json = NULL;
    size_t length = 0;
    int fd = modelfile_fd(bytes, n);

    if (llmos_inspect_fd(fd, &json, &length, &err) < 0)
        TEST_FAIL("%s", err.text);
    if (json_parse(&value, (struct str){json, length}, &limits, &err) < 0)
        TEST_FAIL("%s", err.text);
    llmos_free(json);
    close(fd);
    return value;
}

static json_t *inspect_synth(const struct synth_options *o)
{
    size_t n;
    unsigned char *bytes = modelfile_bytes(modelfile_synth(o), &n);
    json_t *j = inspect(bytes, n);

    free(bytes);
    return j;
}

static const json_t *at(const json_t *j, const char *a, const char *b)
{
    const json_t *inner = json_object_get(j, a);

    return b ? json_object_get(inner, b) : inner;
}

TEST(model_inspection_tells_everything_as_json)
{
    struct synth_options o;
    json_t *j;
    const json_t *tokens, *first;

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    j = inspect_synth(&o);
    CHECK_INT(json_integer_value(at(j, "version", NULL)), 3);
    CHECK_INT(json_integer_value(at(j, "alignment", NULL)), 32);
    CHECK(json_is_true(at(j, "runnable", NULL)));
    CHECK(json_is_null(at(j, "reason", NULL)));
    CHECK_INT(json_integer_value(at(j, "hyperparameters", "layers")), 2);
    CHECK_STR(json_string_value(at(j, "hyperparameters", "file_type")), "f32");
    CHECK_STR(json_string_value(at(j, "metadata", "general.name")), "synthetic");
    CHECK(json_is_true(at(j, "metadata", "tokenizer.ggml.add_bos_token")));
    CHECK_INT(json_integer_value(at(j, "memory", "kv_bytes_per_token_f16")), 256);
    CHECK_INT(json_integer_value(at(j, "memory", "kv_bytes_at_trained_context")), 256 * 256);
    CHECK_STR(json_string_value(at(j, "tokenizer", "chat_format")), "plain");
    CHECK_STR(json_string_value(at(j, "tokenizer", "kind")), "llama");
    CHECK_STR(json_string_value(at(j, "tokenizer", "pre")), "");
    tokens = at(j, "metadata", "tokenizer.ggml.tokens");
    CHECK_INT(json_integer_value(json_object_get(tokens, "count")), 320);
    CHECK_INT(json_array_size(json_object_get(tokens, "first")), 8);
    CHECK_INT(json_array_size(at(j, "tensors", NULL)), 2 * 9 + 3);
    first = json_array_get(at(j, "tensors", NULL), 0);
    CHECK_STR(json_string_value(json_object_get(first, "name")), "token_embd.weight");
    CHECK_STR(json_string_value(json_object_get(first, "type")), "f32");
    CHECK_INT(json_integer_value(json_array_get(json_object_get(first, "shape"), 1)), 320);
    CHECK_INT(json_integer_value(json_object_get(first, "bytes")), 64 * 320 * 4);
    json_decref(j);
}

TEST(model_inspection_shows_files_that_cannot_be_run)
{
    const struct synth_options o = {1, 256, 4, 2, 256, 320, 64, DTYPE_F32, 1, false, false, false};
    size_t n;
    unsigned char *synth = modelfile_bytes(modelfile_synth(&o), &n);
    struct llmos_error err = {0};
    struct buf bytes;
    json_t *j;
    const json_t *tensor;

    change_type(synth, n, "token_embd.weight", 9);
    j = inspect(synth, n);
    CHECK(json_is_false(at(j, "runnable", NULL)));
    CHECK_CONTAINS(json_string_value(at(j, "reason", NULL)), "has type q8_1");
    CHECK_STR(json_string_value(at(j, "hyperparameters", "file_type")), "f32");
    tensor = json_array_get(at(j, "tensors", NULL), 0);
    CHECK_STR(json_string_value(json_object_get(tensor, "type")), "q8_1");
    CHECK_INT(json_integer_value(json_object_get(tensor, "bytes")), 320 * 8 * 36);
    json_decref(j);
    free(synth);
    buf_init(&bytes, 1 << 24);
    CHECK_INT(file_read(modelfile_shared("vocab/ggml-vocab-bert-bge.gguf"), &bytes, &err), 0);
    j = inspect(bytes.at, bytes.len);
    CHECK_CONTAINS(json_string_value(at(j, "reason", NULL)), "it holds a vocabulary only");
    CHECK_STR(json_string_value(at(j, "tokenizer", "kind")), "bert");
    json_decref(j);
    buf_fini(&bytes);
}

/* Every kind of value, hostile text, numbers that JSON cannot say. */
TEST(model_inspection_is_json_whatever_the_file_says)
{
    struct ggufwrite w;
    unsigned char *bytes;
    size_t n;
    json_t *j;
    char *long_text = malloc(100000);
    const char *shown;
    int fd = modelfile_fd("", 0);

    CHECK(long_text);
    memset(long_text, 'x', 100000);
    ggufwrite_init(&w, fd);
    ggufwrite_str(&w, "text", STR("a\0b\xff\"\\\n\x1b[31m \xc3\xa9"));
    ggufwrite_str(&w, "bad\xffkey", STR("x"));
    ggufwrite_str(&w, "long", (struct str){long_text, 100000});
    ggufwrite_f32(&w, "nan", NAN);
    ggufwrite_f32(&w, "minus", -INFINITY);
    ggufwrite_array(&w, "empty", GGUF_STRING, 0);
    ggufwrite_array(&w, "signed", GGUF_I32, 2);
    ggufwrite_put_i32(&w, -1);
    ggufwrite_put_i32(&w, INT32_MIN);
    ggufwrite_array(&w, "floats", GGUF_F32, 1);
    ggufwrite_put_f32(&w, NAN);
    ggufwrite_tensor(&w, "t\xff\"", DTYPE_F32, (uint64_t[]){1, 2, 3, 4}, 4);
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_values(&w, (float[24]){0}, 24, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    free(long_text);
    bytes = modelfile_bytes(fd, &n);
    j = inspect(bytes, n);
    CHECK_STR(json_string_value(at(j, "metadata", "text")), "a\xef\xbf\xbd"
                                                            "b\xef\xbf\xbd\"\\\n\x1b[31m \xc3\xa9");
    CHECK_INT(json_integer_value(at(j, "metadata_left_out", NULL)), 1);
    shown = json_string_value(at(j, "metadata", "long"));
    CHECK_INT(strlen(shown), 65536);
    CHECK_STR(shown + 65530, "xxx...");
    CHECK_STR(json_string_value(at(j, "metadata", "nan")), "nan");
    CHECK_STR(json_string_value(at(j, "metadata", "minus")), "-inf");
    CHECK_INT(json_integer_value(
                  json_array_get(json_object_get(at(j, "metadata", "signed"), "first"), 0)),
              -1);
    CHECK_INT(json_integer_value(
                  json_array_get(json_object_get(at(j, "metadata", "signed"), "first"), 1)),
              INT32_MIN);
    CHECK_STR(json_string_value(json_object_get(json_array_get(at(j, "tensors", NULL), 0), "name")),
              "t\xef\xbf\xbd\"");
    json_decref(j);
    free(bytes);
}

TEST(model_inspection_survives_every_failed_allocation)
{
    struct synth_options o = MODELFILE_SMALL;
    int fd = modelfile_synth(&o);

    EVERY_ALLOCATION_FAILS
    {
        char *json = NULL;
        size_t length;
        int rc = llmos_inspect_fd(fd, &json, &length, NULL);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        CHECK((rc == 0) == (json != NULL));
        llmos_free(json);
    }
    close(fd);
}
