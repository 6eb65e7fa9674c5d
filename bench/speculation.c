/* SPDX-License-Identifier: Apache-2.0 */
/* speculation.c - what guessing ahead gains on a real text: a model of the size of interest, random
 * weights will do, reads one text and is made to say another, token by token, with guesses and
 * without, in turn.
 *
 *     build/bench/speculation [OPTIONS] MODEL PROMPT ANSWER
 *
 * Prompt lookup alone: what a draft model says of a text that it did not choose means nothing. */
#include "quantile.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/opt.h"
#include "infer/session.h"
#include "model/packfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEXT_MAX   (1u << 20)
#define ROUNDS_MAX 100

struct options {
    uint32_t threads, rounds, draft_max, answer_max;
    const char *vocabulary;
    bool json;
};

static const struct options defaults = {.threads = 1, .rounds = 3, .draft_max = 8};

static const struct opt option_table[] = {
    OPT_U32('t', "threads", struct options, threads, "N", 1, 1024, "threads that compute"),
    OPT_U32('r', "rounds", struct options, rounds, "N", 1, ROUNDS_MAX,
            "times each way; the figures are medians"),
    OPT_U32(0, "draft-max", struct options, draft_max, "N", 1, LLMOS_DRAFT_MAX,
            "most tokens guessed ahead"),
    OPT_U32(0, "answer-max", struct options, answer_max, "N", 0, 1u << 20,
            "tokens of the answer that are said", .default_text = "all"),
    OPT_STRING(0, "vocabulary", struct options, vocabulary, "FILE",
               "whose tokenizer makes tokens of the texts, for models with random weights",
               .default_text = "MODEL"),
    OPT_FLAG('j', "json", struct options, json, "print one JSON object"),
    OPT_END,
};

static const struct opt_command command = {
    .name = "speculation",
    .summary = "measure what guessing ahead gains on a text",
    .operands = "MODEL PROMPT ANSWER",
    .operand_why = "a model file and two texts",
    .operands_min = 3,
    .operands_max = 3,
    .description = "Has the model read PROMPT and say ANSWER, whatever it would say, with prompt "
                   "lookup and without, and prints the tokens per second of both.",
    .examples = "speculation model.gguf before.c after.c -t 2",
    .options = option_table,
    .defaults = &defaults,
};

struct text {
    int32_t *tokens;
    uint32_t count;
};

struct run {
    double seconds;
    uint32_t drafted, right;
};

/* Weights as everybody has them after the first use: packed, in memory. */
static int open_model(llmos_model **model, const char *path, struct llmos_error *err)
{
    CLEANUP(fd) int fd = -1;
    int rc = llmos_model_open(model, path, err);

    if (rc < 0 || !packfile_helps(*model))
        return rc;
    fd = memfd_create("packed", MFD_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, "memory for packed weights");
    rc = packfile_write(fd, *model, NULL, NULL, err);
    return rc < 0 ? rc : packfile_use(*model, fd, NULL, err);
}

static int open_vocabulary(llmos_model **model, const char *path, struct llmos_error *err)
{
    CLEANUP(fd) int fd = file_open_regular(path, err);

    return fd < 0 ? err->code : llmos_model_open_vocabulary_fd(model, fd, err);
}

/* Ids that the model has not become others, the same each time: what repeats still does. */
static int read_text(struct text *t, const char *path, const llmos_tokenizer *tokenizer, int flags,
                     uint32_t vocabulary, struct llmos_error *err)
{
    CLEANUP(buf) struct buf bytes = {.at = NULL};
    long n;
    int rc;

    buf_init(&bytes, TEXT_MAX);
    rc = file_read(path, &bytes, err);
    if (rc < 0)
        return rc;
    n = llmos_tokenize(tokenizer, bytes.at, bytes.len, flags, NULL, 0, err);
    if (n <= 0)
        return n < 0 ? (int)n : fail(err, LLMOS_EINVAL, "'%s' has no tokens", path);
    t->tokens = mem_alloc((size_t)n * sizeof(*t->tokens));
    if (!t->tokens)
        return fail(err, LLMOS_ENOMEM, "no memory for %ld tokens", n);
    t->count = (uint32_t)n;
    llmos_tokenize(tokenizer, bytes.at, bytes.len, flags, t->tokens, (size_t)n, err);
    for (long i = 0; i < n; i++)
        t->tokens[i] = (int32_t)((uint32_t)t->tokens[i] % vocabulary);
    return 0;
}

/* Reads the prompt, which is not timed, and says the answer, which is. */
static int say(struct run *r, llmos_context *c, const struct text *prompt,
               const struct text *answer, struct llmos_error *err)
{
    struct llmos_sampling greedy = LLMOS_SAMPLING_INIT;
    struct llmos_step_out out = {.token = -1};
    llmos_session *s = NULL;
    uint64_t start = 0;
    uint32_t said = 0;
    int rc;

    *r = (struct run){0};
    greedy.temperature = 0;
    rc = llmos_session_create(&s, c, &greedy, err);
    if (rc == 0)
        rc = llmos_session_append(s, prompt->tokens, prompt->count, err);
    if (rc == 0)
        session_replay(s, answer->tokens, answer->count);
    while (rc == 0 && said < answer->count && !out.context_full) {
        rc = llmos_context_step(c, &s, 1, &out, err);
        if (out.token < 0)
            continue;
        if (said == 0)
            start = clock_ns();
        said += 1 + out.more_count;
        r->drafted += out.drafted;
        r->right += out.more_count;
    }
    r->seconds = clock_seconds_since(start);
    llmos_session_destroy(s);
    return rc;
}

static int create(llmos_context **c, const llmos_model *model, const struct options *o,
                  uint32_t tokens, uint32_t draft_max, struct llmos_error *err)
{
    struct llmos_context_options options = LLMOS_CONTEXT_OPTIONS_INIT;

    options.threads = o->threads;
    options.context_tokens = tokens;
    options.draft_max = draft_max;
    options.draft_lookup = draft_max > 0;
    return llmos_context_create(c, model, &options, err);
}

static void print(const struct options *o, const struct text *prompt, const struct text *answer,
                  double without, double with, const struct run *last)
{
    double n = answer->count;

    if (o->json)
        printf("{\"prompt_tokens\": %u, \"answer_tokens\": %u, \"tokens_per_second\": %.2f, "
               "\"tokens_per_second_guessing\": %.2f, \"ratio\": %.3f, \"drafted_tokens\": %u, "
               "\"accepted_tokens\": %u}\n",
               prompt->count, answer->count, n / without, n / with, without / with, last->drafted,
               last->right);
    else
        printf("%u tokens of prompt, %u of answer: %.1f tokens/s, guessing %.1f (%.2f); of %u "
               "guesses %u were right\n",
               prompt->count, answer->count, n / without, n / with, without / with, last->drafted,
               last->right);
}

static int measure(const struct options *o, const llmos_model *model, const struct text *prompt,
                   const struct text *answer, struct llmos_error *err)
{
    double seconds[2][ROUNDS_MAX];
    llmos_context *contexts[2] = {NULL, NULL};
    struct run r = {0};
    uint32_t tokens = prompt->count + answer->count + LLMOS_DRAFT_MAX + 1;
    int rc = create(&contexts[0], model, o, tokens, 0, err);

    if (rc == 0)
        rc = create(&contexts[1], model, o, tokens, o->draft_max, err);
    for (uint32_t round = 0; rc == 0 && round < o->rounds; round++)
        for (int guesses = 0; rc == 0 && guesses < 2; guesses++) {
            rc = say(&r, contexts[guesses], prompt, answer, err);
            seconds[guesses][round] = r.seconds;
        }
    if (rc == 0)
        print(o, prompt, answer, quantile(seconds[0], o->rounds, 0.5),
              quantile(seconds[1], o->rounds, 0.5), &r);
    llmos_context_destroy(contexts[0]);
    llmos_context_destroy(contexts[1]);
    return rc;
}

static int run(const struct options *o, const struct opt_rest *rest, struct llmos_error *err)
{
    llmos_model *model = NULL, *vocabulary = NULL;
    const llmos_tokenizer *t;
    struct text prompt = {0}, answer = {0};
    uint32_t ids = 0;
    int rc = open_model(&model, rest->at[0], err);

    if (rc == 0 && o->vocabulary)
        rc = open_vocabulary(&vocabulary, o->vocabulary, err);
    if (rc == 0) {
        t = llmos_model_tokenizer(vocabulary ? vocabulary : model);
        ids = (uint32_t)llmos_token_count(llmos_model_tokenizer(model));
        rc = read_text(&prompt, rest->at[1], t, LLMOS_TOKENIZE_ADD_BOS, ids, err);
    }
    if (rc == 0)
        rc = read_text(&answer, rest->at[2], t, 0, ids, err);
    if (rc == 0 && o->answer_max && answer.count > o->answer_max)
        answer.count = o->answer_max;
    if (rc == 0)
        rc = measure(o, model, &prompt, &answer, err);
    mem_free(prompt.tokens);
    mem_free(answer.tokens);
    llmos_model_close(vocabulary);
    llmos_model_close(model);
    return rc;
}

int main(int argc, char **argv)
{
    CLEANUP(buf) struct buf help = {.limit_bytes = TEXT_MAX};
    struct options o = defaults;
    struct llmos_error err;
    struct opt_rest rest;
    int rc = opt_parse(&command, &o, argc, argv, &rest, &err);

    if (rc > OPT_GO) {
        opt_show(&help, &command, (enum opt_result)rc, OPT_WIDTH_PLAIN, "");
        fputs(buf_str(&help).at, stdout);
        return 0;
    }
    if (rc == OPT_GO)
        rc = run(&o, &rest, &err);
    if (rc == 0)
        return 0;
    fprintf(stderr, "speculation: %s\n", err.text);
    return 1;
}
