/* SPDX-License-Identifier: Apache-2.0 */
/* hfjson_fuzz.c - config.json, tokenizer.json and tokenizer_config.json (divided by a byte 255) or
 * tokenizer.model, beside tensors of a small llama, and then header and values of a second shard:
 * refused with a sentence, or what is written is a GGUF file. */
#include "../hffixture.h"
#include "model/gguf.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str next_part(struct str *rest)
{
    const char *end = rest->len ? memchr(rest->at, 0xff, rest->len) : NULL;
    struct str part = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
    size_t whole = part.len + (end != NULL);

    *rest = (struct str){rest->at + whole, rest->len - whole};
    return part;
}

static void check(int fd)
{
    off_t n = lseek(fd, 0, SEEK_END);
    void *bytes = mmap(NULL, (size_t)n, PROT_READ, MAP_PRIVATE, fd, 0);
    struct llmos_error err;
    struct gguf g;

    if (bytes == MAP_FAILED || gguf_parse(&g, bytes, (size_t)n, &err) < 0)
        abort();
    gguf_fini(&g);
    munmap(bytes, (size_t)n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                        "tokenizer.model"};
    const struct hfconvert_options o = {.type = HFTENSORS_AUTO, .name = STR("fuzz")};
    struct str rest = {(const char *)data, size}, config = next_part(&rest);
    struct llmos_error err = {0};
    static struct hffixture x;
    struct buf shard;
    int fd = memfd_create("out", MFD_CLOEXEC);

    hffixture_init(&x);
    hffixture_close(&x, "model.safetensors");
    if (config.len)
        hffixture_set(&x, "config.json", config);
    for (int i = 0; i < 3; i++) {
        struct str part = next_part(&rest);

        if (part.len)
            hffixture_set(&x, names[i], part);
    }
    buf_init(&shard, 1 << 20);
    if (rest.len) {
        struct str header = next_part(&rest);

        buf_put_u64(&shard, header.len);
        buf_put(&shard, header.at, header.len);
        buf_put(&shard, rest.at, rest.len);
        hffixture_set(&x, "model-2.safetensors", buf_str(&shard));
    }
    if (hfconvert(x.files, x.count, fd, &o, &err) == 0)
        check(fd);
    else if (err.code == 0 || err.text[0] == '\0')
        abort();
    buf_fini(&shard);
    hffixture_fini(&x);
    close(fd);
    return 0;
}
