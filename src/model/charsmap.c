/* SPDX-License-Identifier: Apache-2.0 */
/* charsmap.c - see charsmap.h */
#include "model/charsmap.h"

#include "base/utf8.h"

#include <inttypes.h>

/* Published maps have entries of up to 12 bytes and replacements of up to 33; a hostile one could
 * walk in a circle, or make megabytes of a letter. */
#define ENTRY_BYTES_MAX       64
#define REPLACEMENT_BYTES_MAX 256

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

int charsmap_read(struct charsmap *c, const struct gguf *g, struct llmos_error *err)
{
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    const struct gguf_value *v = gguf_find(g, key);
    uint32_t bytes;

    *c = (struct charsmap){0};
    if (!v || (v->type == GGUF_ARRAY && v->a.count == 0))
        return 0;
    if (v->type != GGUF_ARRAY || (v->a.type != GGUF_I8 && v->a.type != GGUF_U8))
        return fail(err, LLMOS_EFORMAT, "key '%s' is not an array of bytes", key);
    bytes = v->a.count >= 4 ? read_u32(v->a.at) : 0;
    if (bytes < 4 || bytes % 4 != 0 || v->a.count - 4 < bytes)
        return fail(err, LLMOS_EFORMAT,
                    "key '%s' has %" PRIu64 " bytes, its first part is said to have %" PRIu32, key,
                    v->a.count, bytes);
    c->units = v->a.at + 4;
    c->unit_count = bytes / 4;
    c->texts = (struct str){(const char *)c->units + bytes, (size_t)(v->a.count - 4 - bytes)};
    return 0;
}

static uint32_t unit_at(const struct charsmap *c, uint32_t i)
{
    return i < c->unit_count ? read_u32(c->units + 4 * (size_t)i) : 0;
}

/* The fields of a unit, as Darts-clone packs them. */
static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

static uint32_t unit_label(uint32_t unit)
{
    return unit & (1u << 31 | 0xff);
}

static bool unit_has_leaf(uint32_t unit)
{
    return unit >> 8 & 1;
}

/* The longest entry that text begins with: its bytes, 0 if there is none. */
static size_t find_entry(const struct charsmap *c, struct str text, uint32_t *value)
{
    uint32_t at = unit_offset(unit_at(c, 0));
    size_t longest = 0;

    for (size_t i = 0; i < text.len && i < ENTRY_BYTES_MAX; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        uint32_t unit = unit_at(c, at ^= byte);

        if (byte == 0 || unit_label(unit) != byte)
            break;
        at ^= unit_offset(unit);
        if (unit_has_leaf(unit)) {
            longest = i + 1;
            *value = unit_at(c, at) & 0x7fffffffu;
        }
    }
    return longest;
}

static int find_text(const struct charsmap *c, uint32_t value, struct str *part,
                     struct llmos_error *err)
{
    size_t room = value < c->texts.len ? c->texts.len - value : 0;
    const char *end;

    if (room > REPLACEMENT_BYTES_MAX + 1)
        room = REPLACEMENT_BYTES_MAX + 1;
    end = room ? memchr(c->texts.at + value, 0, room) : NULL;
    if (!end)
        return fail(err, LLMOS_EFORMAT,
                    "the replacement at %" PRIu32
                    " of 'tokenizer.ggml.precompiled_charsmap' has no end within %d bytes",
                    value, REPLACEMENT_BYTES_MAX);
    *part = (struct str){c->texts.at + value, (size_t)(end - c->texts.at - value)};
    return 0;
}

int charsmap_next(const struct charsmap *c, struct str text, struct str *part, size_t *used,
                  struct llmos_error *err)
{
    uint32_t value = 0;
    size_t n;

    *used = c->units ? find_entry(c, text, &value) : 0;
    if (*used)
        return find_text(c, value, part, err);
    n = utf8_length(text);
    *used = n ? n : 1;
    *part = n ? (struct str){text.at, n} : STR("\xef\xbf\xbd");
    return 0;
}
