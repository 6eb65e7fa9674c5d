/* SPDX-License-Identifier: Apache-2.0 */
/* tokenize.c - see tokenize.h */
#include "model/tokenize.h"

#include "base/fail.h"

int tokenize_spell(const struct llmos_tokenizer *t, struct str text, struct token_sink *out,
                   struct llmos_error *err)
{
    for (size_t i = 0; i < text.len; i++) {
        if (t->byte_token[(unsigned char)text.at[i]] >= 0)
            continue;
        if (t->unknown < 0)
            return fail(err, LLMOS_EFORMAT,
                        "the vocabulary has no token for byte 0x%02x and none for the unknown",
                        (unsigned char)text.at[i]);
        token_sink_put(out, t->unknown);
        return 0;
    }
    for (size_t i = 0; i < text.len; i++)
        token_sink_put(out, t->byte_token[(unsigned char)text.at[i]]);
    return 0;
}

int tokenize_marked(const struct llmos_tokenizer *t, struct str text, bool control,
                    bool *after_control, struct token_sink *out, struct llmos_error *err)
{
    size_t from = 0, i = 0;

    while (i <= text.len) {
        int32_t mark = i < text.len ? vocab_mark_at(t, text.at + i, text.len - i, control) : -1;
        int rc = 0;

        if (mark < 0 && i < text.len) {
            i++;
            continue;
        }
        if (i > from) {
            rc = t->kind->tokenize(t, (struct str){text.at + from, i - from},
                                   *after_control && t->add_space_prefix, out, err);
            *after_control = false;
        }
        if (rc < 0)
            return rc;
        if (mark < 0)
            break;
        token_sink_put(out, mark);
        *after_control = t->tokens[mark].kind != TOKEN_USER_DEFINED;
        i += t->tokens[mark].piece.len;
        from = i;
    }
    return 0;
}

long llmos_tokenize(const llmos_tokenizer *t, const char *text, size_t length, int flags,
                    int32_t *tokens, size_t room, struct llmos_error *err)
{
    struct token_sink out = {tokens, room, 0};
    bool after_control = true;
    int rc;

    if (length > TOKENIZE_TEXT_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT, "%zu bytes of text, at most %u are accepted", length,
                    TOKENIZE_TEXT_BYTES_MAX);
    if ((flags & LLMOS_TOKENIZE_ADD_BOS) && t->add_bos && t->bos >= 0)
        token_sink_put(&out, t->bos);
    rc = tokenize_marked(t, (struct str){length ? text : "", length},
                         flags & LLMOS_TOKENIZE_PARSE_SPECIAL, &after_control, &out, err);
    if (rc < 0)
        return rc;
    if ((flags & LLMOS_TOKENIZE_ADD_EOS) && t->add_end && t->end >= 0)
        token_sink_put(&out, t->end);
    return (long)out.count;
}
