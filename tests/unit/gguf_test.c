/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_test.c - model files that lie, and that everything about them is noticed. */
#include "test.h"

#include "model/vocab.h"
#include "model/weights.h"
#include "modelfile.h"

/* As llmos_model_open does it, but on bytes of the heap, whose end the sanitizers watch. */
static int load(const void *bytes, size_t n, struct llmos_error *err)
{
    struct gguf g;
    struct hparams h;
    struct weights w;
    struct llmos_tokenizer *t = NULL;
    struct arena arena;
    int rc = gguf_parse(&g, bytes, n, err);

    if (rc < 0)
        return rc;
    CHECK(g.arena.used_bytes <= 6 * n + 4096);
    arena_init(&arena, 1 << 20);
    rc = hparams_read(&h, &g, err);
    if (rc == 0)
        rc = weights_bind(&w, &g, &h, &arena, err);
    if (rc == 0)
        rc = vocab_create(&t, &g, err);
    vocab_destroy(t);
    arena_fini(&arena);
    gguf_fini(&g);
    return rc;
}

static unsigned char *small_model(size_t *n)
{
    struct synth_options o = MODELFILE_SMALL;

    return modelfile_bytes(modelfile_synth(&o), n);
}

static unsigned char *end_of(unsigned char *bytes, size_t n, const char *name)
{
    unsigned char *at = memmem(bytes, n, name, strlen(name));

    CHECK(at);
    return at + strlen(name);
}

#define U64(low, high)    ((uint64_t)(low) | (uint64_t)(high) << 32)
#define TYPE(type, value) U64(type, (uint32_t)(value)), 8

/* One change of a good file and what must be said of it.  `at` counts from behind the name (of a
 * key: type u32, value; of an array: type, element type, count u64, elements; of a tensor:
 * dimensions u32, each u64, type u32, offset u64), or from the beginning of the file. */
static const struct {
    const char *name; /* NULL: the header */
    long at;
    uint64_t value;
    int bytes;
    const char *says;
} hostile[] = {
    /* header */
    {NULL, 0, 0x46554747, 4, NULL}, /* no change: the file is good */
    {NULL, 0, 0, 4, "not a GGUF file: it begins with bytes 00 00 00 00"},
    {NULL, 0, 0x67676a74, 4, "old GGML format"},
    {NULL, 4, 0, 4, "GGUF version 0"},
    {NULL, 4, 1, 4, "GGUF version 1 is not supported; convert"},
    {NULL, 4, 2, 4, NULL},
    {NULL, 4, 4, 4, "GGUF version 4"},
    {NULL, 4, 0x03000000, 4, "big-endian"},
    {NULL, 8, 0, 8, "no tensors"},
    {NULL, 8, 1, 8, "the file lacks tensor"},
    {NULL, 8, 13, 8, "tensor"},
    {NULL, 8, UINT64_MAX, 8, "promises 18446744073709551615 tensors"},
    {NULL, 8, 1ull << 63, 8, "promises 9223372036854775808 tensors"},
    {NULL, 8, UINT64_MAX / 37, 8, "promises"}, /* count * size wraps */
    {NULL, 8, 0x0706050403020101, 8, "promises"},
    {NULL, 16, 0, 8, "has 8 dimensions"}, /* then keys are read as tensors */
    {NULL, 16, 1, 8, "tensor '"},
    {NULL, 16, 30, 8, ""},
    {NULL, 16, UINT64_MAX, 8, "promises 18446744073709551615 keys"},
    {NULL, 16, UINT64_MAX / 56 + 1, 8, "promises"},
    /* keys */
    {NULL, 24, 0, 8, "key 0 of"},
    {NULL, 24, UINT64_MAX, 8, "key 0 of"},
    {NULL, 24, UINT64_MAX - 31, 8, "key 0 of"},
    {NULL, 24, 1ull << 31, 8, "key 0 of"},
    {"llama.block_count", 0, 13, 4, "unknown type 13"},
    {"llama.block_count", 0, UINT32_MAX, 4, "unknown type"},
    {"llama.block_count", 0, 8, 4, ""},
    {"llama.block_count", 0, 9, 4, ""},
    {"general.name", 4, UINT64_MAX, 8, "in the middle of key 'general.name'"},
    {"general.name", 4, 1ull << 40, 8, "in the middle of key 'general.name'"},
    {"tokenizer.ggml.bos_token_id", -12, 'e', 1,
     "'tokenizer.ggml.eos_token_id' stands in the file twice"},
    {"tokenizer.ggml.add_bos_token", 4, 2, 1, "a bool is 0 or 1"},
    /* arrays */
    {"tokenizer.ggml.tokens", 4, GGUF_ARRAY, 4, "array of arrays"},
    {"tokenizer.ggml.tokens", 4, 77, 4, "array of unknown type 77"},
    {"tokenizer.ggml.tokens", 4, GGUF_U8, 4, ""},
    {"tokenizer.ggml.tokens", 8, UINT64_MAX, 8, "promises 18446744073709551615 elements"},
    {"tokenizer.ggml.tokens", 8, 1ull << 61, 8, "promises"}, /* times 8 is 0 */
    {"tokenizer.ggml.tokens", 8, 39, 8, ""},
    {"tokenizer.ggml.tokens", 8, 0, 8, ""},
    {"tokenizer.ggml.tokens", 16, 1ull << 31, 8, "string 0 of key 'tokenizer.ggml.tokens'"},
    {"tokenizer.ggml.tokens", 16, (1ull << 31) - 1, 8, "string 0 of key"},
    {"tokenizer.ggml.tokens", 16, UINT64_MAX, 8, "string 0 of key"},
    {"tokenizer.ggml.scores", 8, 1ull << 62, 8, "promises"}, /* times 4 is 0 */
    {"tokenizer.ggml.scores", 4, GGUF_I32, 4, "array of i32, one of f32 is needed"},
    {"tokenizer.ggml.scores", 16, 0x7fc00000, 4, "score of token 0 is not a number"},
    {"tokenizer.ggml.scores", 16, 0x7f800001, 4, "score of token 0 is not a number"},
    {"tokenizer.ggml.scores", 16, 0xff800000, 4, NULL}, /* minus infinity is a score */
    {"tokenizer.ggml.token_type", 4, GGUF_F32, 4, "array of f32, one of i32"},
    {"tokenizer.ggml.token_type", 16, 7, 4, "token 0 has kind 7"},
    {"tokenizer.ggml.token_type", 16, UINT32_MAX, 4, "token 0 has kind -1"},
    {"tokenizer.ggml.token_type", 20, 6, 4, "token 1 '<s>' is called a byte"},
    /* the tokenizer's numbers */
    {"tokenizer.ggml.bos_token_id", 4, 40, 4, "the vocabulary has 40 tokens"},
    {"tokenizer.ggml.bos_token_id", 4, 39, 4, NULL},
    {"tokenizer.ggml.bos_token_id", 4, UINT32_MAX, 4, NULL}, /* older writers: none */
    {"tokenizer.ggml.bos_token_id", 4, INT32_MAX, 4, "the vocabulary has 40 tokens"},
    {"tokenizer.ggml.bos_token_id", 0, TYPE(GGUF_I32, -2), "is -2"},
    {"tokenizer.ggml.bos_token_id", 0, TYPE(GGUF_F32, 1), "has type f32, an integer is needed"},
    {"tokenizer.ggml.eos_token_id", 4, 1u << 31, 4, "the vocabulary has 40 tokens"},
    {"tokenizer.ggml.unknown_token_id", 4, 1000, 4, "the vocabulary has 40 tokens"},
    {"tokenizer.ggml.model", 12, 'L', 1, "tokenizer 'Llama' is not supported"},
    /* hyperparameters: zero, one too many, enormous, negative, not a number */
    {"general.architecture", 12, 'L', 1, "architecture 'Llama' is not supported"},
    {"llama.block_count", 4, 0, 4, "'llama.block_count' is 0"},
    {"llama.block_count", 4, 2, 4, "the file lacks tensor 'blk.1.attn_norm.weight'"},
    {"llama.block_count", 4, 513, 4, "513 layers are promised"},
    {"llama.block_count", 4, 1025, 4, "1 to 1024"},
    {"llama.block_count", 4, UINT32_MAX, 4, "1 to 1024"},
    {"llama.block_count", 0, TYPE(GGUF_I32, -1), "is -1"},
    {"llama.block_count", 0, TYPE(GGUF_F32, 0x3f800000), "has type f32, an integer is needed"},
    {"llama.context_length", 4, 0, 4, "'llama.context_length' is 0"},
    {"llama.context_length", 4, UINT32_MAX, 4, "'llama.context_length' is 4294967295"},
    {"llama.embedding_length", 4, 0, 4, "'llama.embedding_length' is 0"},
    {"llama.embedding_length", 4, 15, 4, "cannot be divided among 2 heads"},
    {"llama.embedding_length", 4, 14, 4, ""},
    {"llama.embedding_length", 4, 32, 4, ""},
    {"llama.embedding_length", 4, UINT32_MAX, 4, "'llama.embedding_length'"},
    {"llama.feed_forward_length", 4, 0, 4, "'llama.feed_forward_length' is 0"},
    {"llama.feed_forward_length", 4, 17, 4, "tensor 'blk.0.ffn_gate.weight' has shape 16 x 16"},
    {"llama.feed_forward_length", 4, UINT32_MAX, 4, "'llama.feed_forward_length'"},
    {"llama.attention.head_count", 4, 0, 4, "'llama.attention.head_count' is 0"},
    {"llama.attention.head_count", 4, 3, 4, "cannot be divided among 3 heads"},
    {"llama.attention.head_count", 4, 16, 4, "1 to 1 is possible"},
    {"llama.attention.head_count", 4, UINT32_MAX, 4, "'llama.attention.head_count'"},
    {"llama.attention.head_count_kv", 4, 0, 4, "'llama.attention.head_count_kv' is 0"},
    {"llama.attention.head_count_kv", 4, 3, 4, "2 heads cannot share 3 KV heads"},
    {"llama.attention.head_count_kv", 4, 2, 4, "tensor 'blk.0.attn_k.weight' has shape"},
    {"llama.rope.dimension_count", 4, 0, 4, "'llama.rope.dimension_count' is 0"},
    {"llama.rope.dimension_count", 4, 7, 4, "7 dimensions cannot be rotated"},
    {"llama.rope.dimension_count", 4, 10, 4, "'llama.rope.dimension_count' is 10"},
    {"llama.rope.freq_base", 4, 0, 4, "'llama.rope.freq_base' is 0"},
    {"llama.rope.freq_base", 4, 0x7fc00000, 4, "'llama.rope.freq_base' is not a finite number"},
    {"llama.rope.freq_base", 4, 0xff800000, 4, "is not a finite number"},
    {"llama.rope.freq_base", 4, 0xc61c4000, 4, "'llama.rope.freq_base' is -10000"},
    {"llama.attention.layer_norm_rms_epsilon", 4, 0, 4, "is 0"},
    {"llama.attention.layer_norm_rms_epsilon", 4, 0x7fc00000, 4, "is not a finite number"},
    {"llama.attention.layer_norm_rms_epsilon", 4, 0xbf800000, 4, "is -1"},
    {"llama.attention.layer_norm_rms_epsilon", 0, TYPE(GGUF_U32, 1), "has type u32, a floating"},
    {"llama.vocab_size", 4, 41, 4, "has 40 rows, key 'llama.vocab_size' is 41"},
    {"llama.vocab_size", 4, 0, 4, "'llama.vocab_size' is 0"},
    /* tensors */
    {"blk.0.attn_q.weight", -27, 0, 8, "empty, too long"}, /* the name's length */
    {"blk.0.attn_q.weight", -27, UINT64_MAX, 8, "empty, too long or cut off"},
    {"blk.0.attn_q.weight", -27, 256, 8, "empty, too long"},
    {"blk.0.attn_q.weight", -8, 'k', 1, "tensor 'blk.0.attn_k.weight' stands in the file twice"},
    {"blk.0.attn_q.weight", -8, 'x', 1, "the file lacks tensor 'blk.0.attn_q.weight'"},
    {"blk.0.attn_q.weight", 0, 0, 4, "has 0 dimensions"},
    {"blk.0.attn_q.weight", 0, 5, 4, "has 5 dimensions"},
    {"blk.0.attn_q.weight", 0, UINT32_MAX, 4, "has 4294967295 dimensions"},
    {"blk.0.attn_q.weight", 4, 0, 8, "has a dimension of 0"},
    {"blk.0.attn_q.weight", 4, UINT64_MAX, 8, "more values than 64 bits"},
    {"blk.0.attn_q.weight", 4, 1ull << 60, 8, "more values than 64 bits"}, /* times 16 is 0 */
    {"blk.0.attn_q.weight", 4, 1ull << 58, 8, "more bytes than 64 bits"},  /* times 16 * 4 is 0 */
    {"blk.0.attn_q.weight", 4, 1ull << 57, 8, "ends at byte"},
    {"blk.0.attn_q.weight", 4, (1ull << 58) - 1, 8, "lies beyond what 64 bits can address"},
    {"blk.0.attn_q.weight", 12, 17, 8, "overlap"},
    {"blk.0.attn_q.weight", 12, 15, 8, "has shape 16 x 15"},
    {"blk.0.attn_q.weight", 12, 1ull << 20, 8, "ends at byte"},
    {"blk.0.attn_q.weight", 20, 30, 4, NULL}, /* bf16: fits */
    {"blk.0.attn_q.weight", 20, 8, 4, "has rows of 16 values, its type needs a multiple of 32"},
    {"blk.0.attn_q.weight", 20, 7, 4, "has rows of 16 values"},
    {"blk.0.attn_q.weight", 20, 24, 4, "has type i8, which this version cannot compute with"},
    {"blk.0.attn_q.weight", 20, 4, 4,
     "which this version cannot compute with"}, /* a type of the past */
    {"blk.0.attn_q.weight", 20, 200, 4, "type number 200"},
    {"blk.0.attn_q.weight", 20, UINT32_MAX, 4, "type number 4294967295"},
    {"blk.0.attn_q.weight", 24, 0, 8, "overlap"},
    {"blk.0.attn_q.weight", 24, 1, 8, "not a multiple of 32"},
    {"blk.0.attn_q.weight", 24, 1ull << 20, 8, "ends at byte"},
    {"blk.0.attn_q.weight", 24, UINT64_MAX - 31, 8, "lies beyond what 64 bits can address"},
    {"blk.0.attn_q.weight", 24, 1ull << 63, 8, "ends at byte"},
    {"blk.0.attn_norm.weight", 12, 1, 4, "has type f16, f32 is needed"},
    {"token_embd.weight", 12, 39, 8, "has 39 rows, the vocabulary has 40"},
    {"token_embd.weight", 4, 8, 8, "tensor 'token_embd.weight' has shape 8 x 40"},
};

TEST(gguf_names_what_is_wrong_with_a_hostile_file)
{
    size_t n;
    unsigned char *good = small_model(&n), *bad = malloc(n);
    int wrong = 0;

    CHECK(bad);
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        struct llmos_error err = {0};
        const char *says = hostile[i].says;
        unsigned char *at;
        int rc;

        memcpy(bad, good, n);
        at = (hostile[i].name ? end_of(bad, n, hostile[i].name) : bad) + hostile[i].at;
        memcpy(at, &hostile[i].value, (size_t)hostile[i].bytes);
        rc = load(bad, n, &err);
        if (rc == err.code && (says ? rc < 0 && strstr(err.text, says) : rc == 0))
            continue;
        printf("# %s at %ld is %llx: returned %d, \"%s\", not \"%s\"\n",
               hostile[i].name ? hostile[i].name : "header", hostile[i].at,
               (unsigned long long)hostile[i].value, rc, err.text, says ? says : "");
        wrong++;
    }
    free(good);
    free(bad);
    CHECK_INT(wrong, 0);
}

TEST(gguf_refuses_alignments_that_are_none)
{
    static const uint32_t bad[] = {0, 1, 3, 4, 33, 1u << 25, 1u << 31, UINT32_MAX};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct llmos_error err = {0};
        struct ggufwrite w;
        struct gguf g;
        unsigned char *bytes;
        size_t n;
        int fd = modelfile_fd("", 0);

        ggufwrite_init(&w, fd);
        ggufwrite_u32(&w, "general.alignment", bad[i]);
        CHECK_INT(ggufwrite_begin(&w, NULL), 0);
        CHECK_INT(ggufwrite_end(&w, NULL), 0);
        ggufwrite_fini(&w);
        bytes = modelfile_bytes(fd, &n);
        CHECK_INT(gguf_parse(&g, bytes, n, &err), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, "general.alignment is");
        free(bytes);
    }
}

/* A sparse file takes no disk, but its length bounds nothing. */
static void check_sparse(const void *start, size_t n, const char *says)
{
    struct llmos_error err = {0};
    llmos_model *m = NULL;
    int fd = modelfile_fd(start, n);

    CHECK(ftruncate(fd, (off_t)1 << 40) == 0);
    CHECK_INT(llmos_model_open_fd(&m, fd, &err), LLMOS_ELIMIT);
    CHECK_CONTAINS(err.text, says);
    close(fd);
}

TEST(gguf_has_a_maximum_for_every_count_even_in_files_of_a_terabyte)
{
    struct buf b;

    buf_init(&b, 1000);
    buf_puts(&b, "GGUF");
    buf_put_u32(&b, 3);
    buf_put_u64(&b, (1 << 20) + 1);
    buf_put_u64(&b, 0);
    check_sparse(b.at, b.len, "1048577 tensors, at most 1048576 are accepted");
    b.len = 8;
    buf_put_u64(&b, 0);
    buf_put_u64(&b, (1 << 20) + 1);
    check_sparse(b.at, b.len, "1048577 keys, at most 1048576 are accepted");
    b.len = 16;
    buf_put_u64(&b, 1);
    buf_put_u64(&b, 1);
    buf_puts(&b, "a");
    buf_put_u32(&b, GGUF_ARRAY);
    buf_put_u32(&b, GGUF_STRING);
    buf_put_u64(&b, 1 << 25);
    check_sparse(b.at, b.len, "33554432 strings, at most 16777216 are accepted");
    buf_fini(&b);
}

TEST(gguf_says_where_a_file_was_cut)
{
    struct llmos_error err = {0};
    size_t n;
    unsigned char *bytes = small_model(&n);
    char says[64];

    CHECK_INT(load(bytes, n - 1, &err), LLMOS_EFORMAT);
    snprintf(says, sizeof(says), "the file has %zu", n - 1);
    CHECK_CONTAINS(err.text, says);
    CHECK_CONTAINS(err.text, "tensor '");
    CHECK_INT(load(bytes, 4, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "4 bytes are too few");
    free(bytes);
}

TEST(gguf_survives_a_cut_at_every_byte)
{
    size_t n;
    unsigned char *bytes = small_model(&n);

    for (size_t length = 0; length < n; length++) {
        struct llmos_error err = {0};
        unsigned char *cut = malloc(length ? length : 1);
        int rc;

        CHECK(cut);
        memcpy(cut, bytes, length);
        rc = load(cut, length, &err);
        free(cut);
        if (rc == 0 || err.code != rc || !err.text[0])
            TEST_FAIL("cut at byte %zu of %zu: returned %d, %s", length, n, rc, err.text);
    }
    free(bytes);
}

TEST(gguf_survives_thousands_of_random_changes)
{
    uint64_t random = 1;
    size_t n;
    unsigned char *good = small_model(&n), *bad = malloc(n);

    CHECK(bad);
    for (int round = 0; round < 4000; round++) {
        memcpy(bad, good, n);
        for (int change = 0; change <= round % 4; change++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bad[(random >> 33) % 3000] = (unsigned char)(random >> 25);
        }
        load(bad, n, NULL);
    }
    free(good);
    free(bad);
}

TEST(gguf_survives_every_failed_allocation)
{
    size_t n;
    unsigned char *bytes = small_model(&n);

    EVERY_ALLOCATION_FAILS
    {
        struct llmos_error err = {0};
        int rc = load(bytes, n, &err);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
    }
    free(bytes);
}

static unsigned char *kinds(size_t *n)
{
    int fd = modelfile_fd("", 0);
    struct ggufwrite w;

    ggufwrite_init(&w, fd);
    ggufwrite_u32(&w, "u32", 7);
    ggufwrite_f32(&w, "f32", 0.5f);
    ggufwrite_bool(&w, "bool", true);
    ggufwrite_str(&w, "str", STR("text"));
    ggufwrite_array(&w, "floats", GGUF_F32, 2);
    ggufwrite_put_f32(&w, 1.5f);
    ggufwrite_put_f32(&w, -2.5f);
    ggufwrite_array(&w, "numbers", GGUF_I32, 1);
    ggufwrite_put_i32(&w, -5);
    ggufwrite_array(&w, "strings", GGUF_STRING, 3);
    ggufwrite_put_str(&w, STR(""));
    ggufwrite_put_str(&w, STR("one"));
    ggufwrite_put_str(&w, STR("three"));
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    return modelfile_bytes(fd, n);
}

TEST(gguf_reads_every_kind_of_value)
{
    size_t n;
    unsigned char *bytes = kinds(&n);
    struct llmos_error err = {0};
    struct gguf g;
    struct gguf_array a;
    struct str s = STR("before");
    uint64_t u = 1;
    float f = 0;
    bool b = false;

    CHECK_INT(gguf_parse(&g, bytes, n, &err), 0);
    CHECK_INT(g.version, 3);
    CHECK_INT(gguf_get_u64(&g, "u32", 0, 10, &u, &err), 1);
    CHECK_INT(u, 7);
    CHECK_INT(gguf_get_u64(&g, "absent", 0, 10, &u, &err), 0);
    CHECK_INT(u, 7);
    CHECK_INT(gguf_get_u64(&g, "u32", 8, 10, &u, &err), LLMOS_EFORMAT);
    CHECK_STR(err.text, "key 'u32' is 7, 8 to 10 is possible");
    CHECK_INT(gguf_get_u64(&g, "floats", 0, 10, &u, &err), LLMOS_EFORMAT);
    CHECK_INT(gguf_get_f32(&g, "f32", &f, &err), 1);
    CHECK_NEAR((double)f, 0.5, 0);
    CHECK_INT(gguf_get_bool(&g, "bool", &b, &err), 1);
    CHECK(b);
    CHECK_INT(gguf_get_str(&g, "bool", &s, &err), LLMOS_EFORMAT);
    CHECK(str_is(s, "before"));
    CHECK_INT(gguf_get_str(&g, "str", &s, &err), 1);
    CHECK(str_is(s, "text"));
    CHECK_INT(gguf_get_array(&g, "floats", GGUF_F32, &a, &err), 1);
    CHECK_NEAR((double)gguf_array_f32(&a, 1), -2.5, 0);
    CHECK_INT(gguf_get_array(&g, "numbers", GGUF_I32, &a, &err), 1);
    CHECK_INT(gguf_array_i32(&a, 0), -5);
    CHECK_INT(gguf_get_array(&g, "strings", GGUF_I32, &a, &err), LLMOS_EFORMAT);
    CHECK_INT(gguf_get_array(&g, "strings", GGUF_STRING, &a, &err), 1);
    CHECK_INT(a.count, 3);
    CHECK(str_is(gguf_array_str(&a, 0), ""));
    CHECK(str_is(gguf_array_str(&a, 2), "three"));
    gguf_fini(&g);
    free(bytes);
}

TEST(gguf_finds_each_of_many_keys_and_tensors)
{
    int fd = modelfile_fd("", 0);
    struct ggufwrite w;
    struct gguf g;
    unsigned char *bytes;
    size_t n;

    ggufwrite_init(&w, fd);
    for (unsigned i = 0; i < 500; i++) {
        char name[16];

        snprintf(name, sizeof(name), "k%u", i * 7919 % 500);
        ggufwrite_u32(&w, name, i * 7919 % 500);
        ggufwrite_tensor(&w, name, DTYPE_F32, (uint64_t[]){1 + i * 7919 % 500}, 1);
    }
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    for (unsigned i = 0; i < 500; i++)
        CHECK_INT(ggufwrite_values(&w, (float[500]){0}, 1 + i * 7919 % 500, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    bytes = modelfile_bytes(fd, &n);
    CHECK_INT(gguf_parse(&g, bytes, n, NULL), 0);
    for (unsigned i = 0; i < 500; i++) {
        char name[16];

        snprintf(name, sizeof(name), "k%u", i);
        CHECK_INT(gguf_find(&g, name)->u, i);
        CHECK_INT(gguf_find_tensor(&g, name)->t.shape[0], i + 1);
    }
    CHECK(!gguf_find(&g, "k"));
    CHECK(!gguf_find(&g, "k500"));
    CHECK(!gguf_find_tensor(&g, "z"));
    gguf_fini(&g);
    free(bytes);
}
