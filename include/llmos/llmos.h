/* SPDX-License-Identifier: Apache-2.0 */
/* llmos.h - the library: includes the rest.
 *
 * A whole program, built with `cc story.c $(pkg-config --cflags --libs llmos)`; a test compiles and
 * runs exactly these lines:
 *
 *     #include <llmos/llmos.h>
 *     #include <stdio.h>
 *
 *     int main(int argc, char **argv)
 *     {
 *         struct llmos_context_options options = LLMOS_CONTEXT_OPTIONS_INIT;
 *         struct llmos_sampling sampling = LLMOS_SAMPLING_INIT;
 *         struct llmos_step_out out = {0};
 *         struct llmos_error err;
 *         llmos_model *model = NULL;
 *         llmos_context *context = NULL;
 *         llmos_session *session = NULL;
 *         int32_t prompt[64];
 *         long n;
 *
 *         sampling.seed = 1;
 *         if (argc != 2 || llmos_model_open(&model, argv[1], &err) < 0 ||
 *             llmos_context_create(&context, model, &options, &err) < 0 ||
 *             llmos_session_create(&session, context, &sampling, &err) < 0)
 *             return 1;
 *         n = llmos_tokenize(llmos_model_tokenizer(model), "Once upon a time", 16,
 *                            LLMOS_TOKENIZE_ADD_BOS, prompt, 64, &err);
 *         if (n < 0 || n > 64 || llmos_session_append(session, prompt, (size_t)n, &err) < 0)
 *             return 1;
 *         for (int made = 0; made < 32 && !out.context_full; made += out.token >= 0) {
 *             const char *piece;
 *             size_t length;
 *
 *             if (llmos_context_step(context, &session, 1, &out, &err) < 0)
 *                 return 1;
 *             if (out.token < 0)
 *                 continue;
 *             length = llmos_token_piece(llmos_model_tokenizer(model), out.token, false, &piece);
 *             fwrite(piece, 1, length, stdout);
 *         }
 *         llmos_session_destroy(session);
 *         llmos_context_destroy(context);
 *         llmos_model_close(model);
 *         return 0;
 *     }
 */
#ifndef LLMOS_LLMOS_H
#define LLMOS_LLMOS_H

#include "llmos/encoder.h"
#include "llmos/error.h"
#include "llmos/model.h"
#include "llmos/session.h"
#include "llmos/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

LLMOS_API const char *llmos_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif

#endif
