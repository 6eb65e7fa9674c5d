/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.h - text to tokens and back, exactly as the model's makers meant.
 *
 * Token ids are int32_t in [0, vocabulary).  Read-only after creation: any thread, at the same
 * time. */
#ifndef LLMOS_TOKENIZER_H
#define LLMOS_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "llmos/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llmos_tokenizer llmos_tokenizer; /* belongs to its model */

/* Who may say what: text from users never becomes a special token unless PARSE_SPECIAL says so. */
enum llmos_tokenize_flags {
    LLMOS_TOKENIZE_ADD_BOS = 1,       /* begin as the model says: a BOS token if it wants one */
    LLMOS_TOKENIZE_PARSE_SPECIAL = 2, /* "</s>" in the text is the token, not four letters */
    LLMOS_TOKENIZE_ADD_EOS = 4        /* end as the model says: EOS, or [SEP], if it wants one */
};

/* The number of tokens of text[length] (any bytes; invalid UTF-8 goes through byte fallback), or a
 * negative code. Writes at most room of them: call with room 0 to learn the number.  Time grows
 * linearly (n log n) with length. */
LLMOS_API long llmos_tokenize(const llmos_tokenizer *t, const char *text, size_t length, int flags,
                              int32_t *tokens, size_t room, struct llmos_error *err);

/* The bytes that a token adds to the text; valid as long as the tokenizer, not zero-terminated.
 * Control tokens (BOS, EOS, chat marks) give 0 bytes unless with_special.  A piece may be a part of
 * a UTF-8 character. A leading space that the model's makers drop at the start of a text is still
 * in the piece. */
LLMOS_API size_t llmos_token_piece(const llmos_tokenizer *t, int32_t token, bool with_special,
                                   const char **piece);

LLMOS_API int32_t llmos_token_count(const llmos_tokenizer *t);
LLMOS_API int32_t llmos_token_bos(const llmos_tokenizer *t); /* -1 if there is none */
LLMOS_API int32_t llmos_token_eos(const llmos_tokenizer *t); /* -1 likewise */
LLMOS_API bool llmos_token_ends_generation(const llmos_tokenizer *t,
                                           int32_t token); /* EOS, EOT, <|im_end|> ... */
LLMOS_API bool llmos_token_is_control(const llmos_tokenizer *t, int32_t token);

/* One message of a conversation; not owned. role: "system", "user", "assistant", "tool"; any other
 * is refused. */
struct llmos_message {
    const char *role;
    const char *content;
    size_t content_length;
};

/* The conversation as tokens, as the chat template of the model's file writes it (or a built-in
 * one, where there is none), ready for the assistant's answer.  Contents are tokenized as plain
 * text: a user cannot type a special token.  In them, what is not UTF-8 becomes U+FFFD.  What the
 * template refuses, or does wrong, is an error with its line.  As llmos_tokenize otherwise. */
LLMOS_API long llmos_chat_tokenize(const llmos_tokenizer *t, const struct llmos_message *messages,
                                   size_t count, int32_t *tokens, size_t room,
                                   struct llmos_error *err);

/* The conversation as text.  json: a list of messages, or an object of the template's variables:
 * "messages", and what else it knows ("tools", "add_generation_prompt", which is true here ...).
 * *text is the caller's: release it with llmos_free. */
LLMOS_API int llmos_chat_render(const llmos_tokenizer *t, const char *json, size_t length,
                                char **text, size_t *text_length, struct llmos_error *err);

/* The same conversation as tokens, with roles as in struct llmos_message.  Strings and numbers of
 * the JSON are plain text wherever the template puts them.  Calls of functions that were made
 * before have an object as arguments, and "" as content of who said nothing, whatever shape the
 * template wants them in. */
LLMOS_API long llmos_chat_encode(const llmos_tokenizer *t, const char *json, size_t length,
                                 int32_t *tokens, size_t room, struct llmos_error *err);

/* In which form the model calls functions, as its chat template shows: "hermes", "mistral",
 * "llama3", or "" where it shows none of these. */
LLMOS_API const char *llmos_chat_tool_format(const llmos_tokenizer *t);

/* In which form the model thinks before it answers, as its chat template shows: "think", "granite",
 * "mistral", "harmony", or "" where it shows none of these. */
LLMOS_API const char *llmos_chat_thought_format(const llmos_tokenizer *t);

/* The name of the chat format in use: "template" for that of the file, or the built-in "chatml",
 * "llama2", "llama3", "zephyr", "plain". */
LLMOS_API const char *llmos_chat_format(const llmos_tokenizer *t);
/* Overrides what was recognised in the file.  Not while other threads use the tokenizer. */
LLMOS_API int llmos_chat_set_format(llmos_tokenizer *t, const char *name, struct llmos_error *err);

#ifdef __cplusplus
}
#endif

#endif
