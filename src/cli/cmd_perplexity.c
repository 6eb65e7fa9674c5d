/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_perplexity.c - llmos perplexity: how well a model predicts a text */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/talk.h"

#define TEXT_MAX (12u << 20) /* fits a frame */

struct perplexity {
    bool json;
    uint32_t chunks;
    struct talk_options room;
};

static const struct perplexity perplexity_defaults = {.json = false};

static const struct opt perplexity_options[] = {
    OPT_U32('c', "context", struct perplexity, room.context, "N", 4, 16777216, "tokens of a chunk",
            .default_text = "512, or what the model was trained with"),
    OPT_U32(0, "chunks", struct perplexity, chunks, "N", 1, UINT32_MAX, "read only so many",
            .default_text = "all of the text"),
    OPT_STRING(0, "kl-base", struct perplexity, room.draft, "MODEL",
               "compare with this model, of which MODEL is a smaller version"),
    OPT_U32('t', "threads", struct perplexity, room.threads, "N", 1, 1024, "threads that compute",
            .default_text = "one for every usable core"),
    OPT_FLAG('j', "json", struct perplexity, json, "print one JSON object"),
    TALK_ROOM_OPTIONS(struct perplexity, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command perplexity_command = {
    .name = "llmos perplexity",
    .summary = "measure how well a model predicts a text",
    .operands = "MODEL TEXT",
    .operand_why = "a model file and a text",
    .operands_min = 2,
    .operands_max = 2,
    .description =
        "The perplexity is the number of tokens among which a model that knew nothing else would "
        "guess as well: e to the mean surprise. The text is cut into chunks; each begins with the "
        "token that marks a beginning, if the model has one, and its second half is scored. That "
        "is "
        "the convention of llama.cpp, and numbers can be compared with its, for the same context. "
        "Behind +- stands the standard error.\n\n"
        "With --kl-base both models read the text, and the divergence of MODEL from the base is "
        "told: what is lost by predicting with it, in nats a token. TEXT may be '-'.",
    .examples = "llmos perplexity model-q4.gguf wiki.test.raw\n"
                "llmos perplexity model-q4.gguf wiki.test.raw --kl-base model-f16.gguf",
    .see_also = "llmos-quantize(1)",
    .options = perplexity_options,
    .defaults = &perplexity_defaults,
};

static double number_of(const json_t *report, const char *key)
{
    return json_number_value(json_object_get(report, key));
}

static void put_report(const json_t *report, struct buf *out)
{
    buf_printf(out, "perplexity %.4f +- %.4f (%.0f tokens of %.0f in %.0f chunks of %.0f)\n",
               number_of(report, "perplexity"), number_of(report, "perplexity_error"),
               number_of(report, "scored_tokens"), number_of(report, "tokens"),
               number_of(report, "chunks"), number_of(report, "context"));
    if (!json_object_get(report, "kl_divergence"))
        return;
    buf_printf(out, "base       %.4f\n", number_of(report, "base_perplexity"));
    buf_printf(out, "divergence %.6f +- %.6f nats a token, at most %.4f\n",
               number_of(report, "kl_divergence"), number_of(report, "kl_divergence_error"),
               number_of(report, "kl_divergence_largest"));
    buf_printf(out, "same most likely token in %.2f %% of places\n",
               100 * number_of(report, "same_top_token"));
}

static int show(const struct perplexity *o, const struct buf *reply)
{
    static const struct json_limits limits = JSON_LIMITS_INIT;
    CLEANUP(buf) struct buf out = {.at = NULL};
    struct llmos_error err;
    json_t *report;

    buf_init(&out, TALK_REPLY_MAX);
    if (json_parse(&report, buf_str(reply), &limits, &err) < 0)
        return cli_error(&err);
    if (o->json) {
        buf_put(&out, reply->at, reply->len);
        buf_putc(&out, '\n');
    } else {
        put_report(report, &out);
    }
    json_decref(report);
    return cli_print_buf(&out);
}

static int run(int argc, char **argv)
{
    struct perplexity o = perplexity_defaults;
    struct message q = {.type = MESSAGE_EVALUATE};
    CLEANUP(buf) struct buf text = {.at = NULL};
    CLEANUP(buf) struct buf reply = {.at = NULL};
    struct talk t = {.worker = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_perplexity, &o, argc, argv, &rest, &code))
        return code;
    buf_init(&text, TEXT_MAX);
    buf_init(&reply, 1 << 20);
    if (file_read(rest.at[1], &text, &err) < 0)
        return cli_error(&err);
    q.evaluate = (struct message_evaluate){.kind = EVALUATE_PERPLEXITY,
                                           .chunk_tokens = o.room.context,
                                           .chunks_max = o.chunks,
                                           .text = buf_str(&text)};
    halt_catch();
    if (talk_start(&t, rest.at[0], PURPOSE_EVALUATE, &o.room, &err) < 0 ||
        talk_ask(&t, &q, "reading the text", &reply, &err) < 0)
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    else
        code = show(&o, &reply);
    talk_end(&t);
    return code;
}

const struct cli_verb cli_perplexity = {"perplexity", &perplexity_command, run};
