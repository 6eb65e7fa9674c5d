/* SPDX-License-Identifier: Apache-2.0 */
/* vectors_test.c - our tokens are those of the makers' tokenizers: random strings through small
 * vocabularies, made by tools/judge_tokenizers.py --vectors. */
#include "test.h"

#include "model/gguf.h"
#include "modelfile.h"

#define FAMILIES_MAX 32

static const char *data_path(const char *name, const char *ending)
{
    static char path[4096];
    const char *source = getenv("LLMOS_SOURCE");

    snprintf(path, sizeof(path), "%s/tests/data/tokenizer/%s%s", source ? source : ".", name,
             ending);
    return path;
}

static llmos_model *open_vocabulary(int fd)
{
    struct llmos_error err = {0};
    llmos_model *m = NULL;

    if (llmos_model_open_vocabulary_fd(&m, fd, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    return m;
}

static void copy_strings(struct ggufwrite *w, const struct gguf *g, const char *key)
{
    struct gguf_array a;

    CHECK(gguf_get_array(g, key, GGUF_STRING, &a, NULL) > 0);
    ggufwrite_array(w, key, GGUF_STRING, a.count);
    for (uint64_t i = 0; i < a.count; i++)
        ggufwrite_put_str(w, gguf_array_str(&a, i));
}

/* The byte-level vocabulary behind another pre-tokenizer. */
static llmos_model *open_split_by(const char *pre)
{
    struct buf bytes;
    struct ggufwrite w;
    struct gguf g;
    int fd = modelfile_fd("", 0);

    buf_init(&bytes, 1 << 20);
    CHECK_INT(file_read(data_path("gpt2", ".gguf"), &bytes, NULL), 0);
    CHECK_INT(gguf_parse(&g, bytes.at, bytes.len, NULL), 0);
    ggufwrite_init(&w, fd);
    ggufwrite_str(&w, "tokenizer.ggml.model", STR("gpt2"));
    ggufwrite_str(&w, "tokenizer.ggml.pre", str_of(pre));
    copy_strings(&w, &g, "tokenizer.ggml.tokens");
    copy_strings(&w, &g, "tokenizer.ggml.merges");
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    gguf_fini(&g);
    buf_fini(&bytes);
    return open_vocabulary(fd);
}

static uint32_t tokens_hash(const llmos_model *m, const char *text, size_t n)
{
    static int32_t ids[4096];
    long count = llmos_tokenize(llmos_model_tokenizer(m), text, n, 0, ids, 4096, NULL);
    uint32_t h = 0x811c9dc5u;

    CHECK(count >= 0 && count <= 4096);
    for (long i = 0; i < count; i++)
        for (unsigned k = 0; k < 32; k += 8)
            h = (h ^ ((uint32_t)ids[i] >> k & 255)) * 0x01000193u;
    return h;
}

static size_t read_hex(const char *hex, char *out, size_t room)
{
    size_t n = 0;
    unsigned byte;

    while (n < room && sscanf(hex + 2 * n, "%2x", &byte) == 1 && hex[2 * n] != ' ')
        out[n++] = (char)byte;
    return n;
}

/* A line: the text in hex, then a hash for each family. */
static void check_line(char *line, llmos_model *const *models, size_t count)
{
    static char text[4096];
    size_t n = read_hex(line, text, sizeof(text));
    char *at = strchr(line, ' ');

    for (size_t i = 0; i < count; i++) {
        unsigned long expected = strtoul(at, &at, 16);

        if (tokens_hash(models[i], text, n) != expected)
            TEST_FAIL("column %zu differs for %.*s", i + 1, (int)(2 * n), line);
    }
}

static void check_file(const char *name)
{
    static char line[16384];
    llmos_model *models[FAMILIES_MAX];
    FILE *f = fopen(data_path(name, ".txt"), "r");
    size_t count = 0, lines = 0;

    CHECK(f && fgets(line, sizeof(line), f));
    strtok(line, " \n"); /* "text" */
    for (char *family; (family = strtok(NULL, " \n")) != NULL; count++) {
        CHECK(count < FAMILIES_MAX);
        models[count] = strcmp(name, "gpt2") == 0
                            ? open_split_by(family)
                            : open_vocabulary(open(data_path(name, ".gguf"), O_RDONLY | O_CLOEXEC));
    }
    for (; fgets(line, sizeof(line), f); lines++)
        check_line(line, models, count);
    CHECK(count > 0 && lines == 300);
    fclose(f);
    while (count > 0)
        llmos_model_close(models[--count]);
}

TEST(vectors_of_byte_level_bpe_behind_every_pretokenizer)
{
    check_file("gpt2");
}

TEST(vectors_of_bpe_of_characters)
{
    check_file("gemma4");
}

TEST(vectors_of_wordpiece)
{
    check_file("bert");
}

TEST(vectors_of_unigram)
{
    check_file("t5");
}

TEST(vectors_of_sentencepiece_bpe)
{
    check_file("llama");
}
