/* SPDX-License-Identifier: Apache-2.0 */
/* tokenize.c - see tokenize.h */
#include "model/tokenize.h"

#include "base/fail.h"
#include "base/utf8.h"
#include "model/unicode.h"

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

/* ---- special tokens ---- */

/* \w of regular expressions: letters, marks, digits, what joins them, and letters in circles. */
static bool is_word(uint32_t c)
{
    enum unicode_category k = unicode_category(c);

    return k <= UNICODE_NL || k == UNICODE_PC || c == 0x200c || c == 0x200d ||
           (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* The character that ends before `at` (not 0), and its bytes. */
static uint32_t before(struct str text, size_t at, size_t *bytes)
{
    for (size_t n = 4; n > 1; n--) {
        struct str s = {text.at + at - n, n};

        if (n <= at && utf8_length(s) == n)
            return unicode_next(s, bytes);
    }
    return unicode_next((struct str){text.at + at - 1, 1}, bytes);
}

static uint32_t behind(struct str text, size_t at, size_t *bytes)
{
    return unicode_next((struct str){text.at + at, text.len - at}, bytes);
}

bool tokenize_mark_span(const struct llmos_tokenizer *t, int32_t id, struct str text, size_t floor,
                        size_t at, struct mark_span *span)
{
    unsigned habits = t->tokens[id].habits;
    size_t from = at, to = at + t->tokens[id].piece.len, bytes;

    if (habits & TOKEN_SINGLE && ((from > 0 && is_word(before(text, from, &bytes))) ||
                                  (to < text.len && is_word(behind(text, to, &bytes)))))
        return false;
    while (
        habits & TOKEN_LSTRIP && from > floor &&
        unicode_is_space(before((struct str){text.at + floor, from - floor}, from - floor, &bytes)))
        from -= bytes;
    while (habits & TOKEN_RSTRIP && to < text.len && unicode_is_space(behind(text, to, &bytes)))
        to += bytes;
    *span = (struct mark_span){from, to};
    return true;
}

/* Hugging Face looks for all special tokens but the normalized ones first, then for these in what
 * lies between. */
static int take_marks(const struct llmos_tokenizer *t, struct str text, unsigned which,
                      bool *after_control, struct token_sink *out, struct llmos_error *err);

static int take_text(const struct llmos_tokenizer *t, struct str text, unsigned which,
                     bool *after_control, struct token_sink *out, struct llmos_error *err)
{
    bool with_space = *after_control && t->add_space_prefix;

    if (text.len == 0)
        return 0;
    if (t->has_normalized && which & VOCAB_NOT_NORMALIZED)
        return take_marks(t, text, (which & ~(unsigned)VOCAB_NOT_NORMALIZED) | VOCAB_NORMALIZED,
                          after_control, out, err);
    *after_control = false;
    return t->kind->tokenize(t, text, with_space, out, err);
}

static int take_marks(const struct llmos_tokenizer *t, struct str text, unsigned which,
                      bool *after_control, struct token_sink *out, struct llmos_error *err)
{
    size_t from = 0;
    int rc = 0;

    for (size_t i = 0; i < text.len && rc == 0;) {
        int32_t mark = vocab_mark_at(t, text.at + i, text.len - i, which);
        struct mark_span span;

        if (mark < 0 || !tokenize_mark_span(t, mark, text, from, i, &span)) {
            i += mark < 0 ? 1 : t->tokens[mark].piece.len;
            continue;
        }
        rc = take_text(t, tokenize_between(text, from, span.from), which, after_control, out, err);
        token_sink_put(out, mark);
        *after_control = t->tokens[mark].kind != TOKEN_USER_DEFINED;
        from = span.to;
        i += t->tokens[mark].piece.len; /* one that begins in the white space counts as well */
    }
    return rc < 0 ? rc
                  : take_text(t, tokenize_between(text, from, text.len), which, after_control, out,
                              err);
}

int tokenize_marked(const struct llmos_tokenizer *t, struct str text, bool control,
                    bool *after_control, struct token_sink *out, struct llmos_error *err)
{
    return take_marks(t, text,
                      VOCAB_USER_DEFINED | VOCAB_NOT_NORMALIZED | (control ? VOCAB_CONTROL : 0),
                      after_control, out, err);
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
