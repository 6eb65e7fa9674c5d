/* SPDX-License-Identifier: Apache-2.0 */
/* encoding.c - see encoding.h */
#include "engine/encoding.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>

#define ANSWER_BYTES_MAX (32u << 20)  /* of a row for each token: half of what the host takes */
#define FRAME_BYTES      (512u << 10) /* of rows in one: half of what it may hold */

_Static_assert((int)CLASSIFIER_RANK == (int)LLMOS_CLASSIFIER_RANK &&
                   (int)CLASSIFIER_TOKEN == (int)LLMOS_CLASSIFIER_TOKEN,
               "the protocol numbers classifiers as the library does");

/* ---- what the encoder is ---- */

int encoding_check(const struct serve *s, struct llmos_error *err)
{
    struct llmos_encoder_info info;

    llmos_encoder_info(s->encoder, &info);
    if (info.labels > MESSAGE_LABELS_MAX)
        return fail(err, LLMOS_ELIMIT, "the classifier has %u labels, at most %d are supported",
                    info.labels, MESSAGE_LABELS_MAX);
    if (info.width > MESSAGE_WIDTH_MAX)
        return fail(err, LLMOS_ELIMIT, "a vector has %u numbers, at most %d are supported",
                    info.width, MESSAGE_WIDTH_MAX);
    return 0;
}

void encoding_fill_ready(const struct serve *s, struct message_ready *ready,
                         struct str labels[MESSAGE_LABELS_MAX])
{
    struct llmos_encoder_info info;

    llmos_encoder_info(s->encoder, &info);
    ready->backend = str_of(info.backend);
    ready->context_tokens = info.tokens_max;
    ready->threads = info.threads;
    ready->scratch_bytes = info.scratch_bytes;
    ready->classifier = (uint8_t)info.classifier;
    ready->vector_width = info.width;
    ready->label_count = info.labels;
    ready->labels = labels;
    for (uint32_t i = 0; i < info.labels; i++) {
        labels[i] = str_of(llmos_encoder_label(s->encoder, i));
        if (labels[i].len > MESSAGE_LABEL_BYTES_MAX) {
            labels[i].len = MESSAGE_LABEL_BYTES_MAX;
            labels[i].len = utf8_valid_bytes(labels[i]);
        }
    }
}

/* ---- the tokens of a text, or of a pair ---- */

struct text {
    int32_t *tokens;
    size_t count, cut; /* left out */
    size_t second;     /* where the second begins; count: there is none */
};

static int copy(struct text *t, const int32_t *tokens, size_t count, struct llmos_error *err)
{
    t->tokens = mem_zalloc(count, sizeof(*tokens));
    if (!t->tokens)
        return fail(err, LLMOS_ENOMEM, "no memory for %zu tokens", count);
    if (count)
        memcpy(t->tokens, tokens, count * sizeof(*tokens));
    t->count = count;
    return 0;
}

static int append(const struct serve *s, struct text *t, struct str words, int flags,
                  struct llmos_error *err)
{
    const llmos_tokenizer *k = llmos_model_tokenizer(s->model);
    long n = llmos_tokenize(k, words.at, words.len, flags, NULL, 0, err);
    int32_t *grown;

    if (n < 0)
        return (int)n;
    grown = mem_resize(t->tokens, t->count + (size_t)n + 1, sizeof(*grown));
    if (!grown)
        return fail(err, LLMOS_ENOMEM, "no memory for %ld tokens", n);
    t->tokens = grown;
    n = llmos_tokenize(k, words.at, words.len, flags, t->tokens + t->count, (size_t)n, err);
    if (n < 0)
        return (int)n;
    t->count += (size_t)n;
    return 0;
}

/* Is that how RoBERTa and its kin end a text?  They part a pair by two such tokens, others by one:
 * "<s> a </s></s> b </s>", "[CLS] a [SEP] b [SEP]". */
static bool ends_twice(const struct serve *s, const struct text *t)
{
    const char *piece;
    size_t n;

    if (t->count == 0)
        return false;
    n = llmos_token_piece(llmos_model_tokenizer(s->model), t->tokens[t->count - 1], true, &piece);
    return str_is((struct str){piece, n}, "</s>");
}

static int append_second(const struct serve *s, struct text *t, struct str words,
                         struct llmos_error *err)
{
    if (ends_twice(s, t)) {
        t->tokens[t->count] = t->tokens[t->count - 1]; /* append leaves room for one */
        t->count++;
    }
    t->second = t->count;
    return append(s, t, words, LLMOS_TOKENIZE_ADD_EOS, err);
}

/* How many tokens the model puts behind each text. */
static long closing(const struct serve *s, struct llmos_error *err)
{
    const llmos_tokenizer *k = llmos_model_tokenizer(s->model);
    long with = llmos_tokenize(k, "a", 1, LLMOS_TOKENIZE_ADD_EOS, NULL, 0, err);
    long without = with < 0 ? with : llmos_tokenize(k, "a", 1, 0, NULL, 0, err);

    return without < 0 ? without : with - without;
}

/* The end of the last text is left out, what closes it stays; of tokens nobody knows what that is.
 */
static int cut(const struct serve *s, struct text *t, uint8_t input, size_t tokens_max,
               struct llmos_error *err)
{
    size_t from = t->second < t->count ? t->second : 0, behind;
    long tail = input == ENCODE_TOKENS ? 0 : closing(s, err);

    if (tail < 0)
        return (int)tail;
    behind = (size_t)tail;
    if (from + behind >= tokens_max)
        return fail(err, LLMOS_ECONTEXT,
                    "the first text of the pair has %zu tokens, the model takes %zu of both: "
                    "nothing is left of the second; try a shorter one",
                    from, tokens_max);
    t->cut = t->count - tokens_max;
    memmove(t->tokens + tokens_max - behind, t->tokens + t->count - behind,
            behind * sizeof(*t->tokens));
    if (t->second == t->count)
        t->second = tokens_max;
    t->count = tokens_max;
    return 0;
}

static int tokenize(const struct serve *s, struct text *t, const struct message_encode *want,
                    struct llmos_error *err)
{
    struct llmos_encoder_info info;
    int rc = want->input == ENCODE_TOKENS
                 ? copy(t, want->tokens, want->count, err)
                 : append(s, t, want->text, LLMOS_TOKENIZE_ADD_BOS | LLMOS_TOKENIZE_ADD_EOS, err);

    if (rc == 0 && want->input == ENCODE_PAIR)
        rc = append_second(s, t, want->second, err);
    else
        t->second = t->count;
    if (rc < 0)
        return rc;
    llmos_encoder_info(s->encoder, &info);
    if (t->count <= info.tokens_max)
        return 0;
    if (want->cuts)
        return cut(s, t, want->input, info.tokens_max, err);
    return fail(err, LLMOS_ECONTEXT, "the text has %zu tokens, the model takes %u", t->count,
                info.tokens_max);
}

/* ---- the answer ---- */

static bool all_finite(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

struct answer {
    uint64_t id;
    const struct text *text;
    float *values;
    size_t rows;
    uint32_t width;
    bool are_tokens; /* the rows */
};

/* What a token says, of the unknown one its name; empty where a row is for the whole text. */
static struct str piece_of(const struct serve *s, const struct answer *a, size_t row)
{
    const llmos_tokenizer *k = llmos_model_tokenizer(s->model);
    struct str piece = {"", 0};
    int32_t token;

    if (!a->are_tokens)
        return piece;
    token = a->text->tokens[row];
    if (llmos_token_is_control(k, token))
        return piece;
    piece.len = llmos_token_piece(k, token, true, &piece.at);
    if (piece.len > MESSAGE_PIECE_BYTES_MAX)
        piece.len = MESSAGE_PIECE_BYTES_MAX;
    return piece;
}

static int say(struct serve *s, const struct answer *a, struct llmos_error *err)
{
    struct str *pieces = mem_zalloc(a->rows, sizeof(*pieces));
    size_t at = 0;
    int rc = pieces ? 0 : fail(err, LLMOS_ENOMEM, "no memory for %zu rows", a->rows);

    while (rc == 0 && at < a->rows) {
        size_t n = 0, bytes = 0;

        for (; at + n < a->rows && bytes < FRAME_BYTES; n++) {
            pieces[n] = piece_of(s, a, at + n);
            bytes += pieces[n].len + 4 + 4 * (size_t)a->width;
        }
        wire_put(s->wire, &(struct message){.type = MESSAGE_VECTOR,
                                            .id = a->id,
                                            .vector = {.last = at + n == a->rows,
                                                       .tokens = (uint32_t)a->text->count,
                                                       .cut = (uint32_t)a->text->cut,
                                                       .width = a->width,
                                                       .rows = (uint32_t)n,
                                                       .pieces = pieces,
                                                       .values = a->values + at * a->width}});
        at += n;
        rc = wire_drain(s->wire, false, err);
    }
    mem_free(pieces);
    return rc;
}

static int compute(struct serve *s, struct answer *a, const struct message_encode *want,
                   struct llmos_error *err)
{
    const struct text *t = a->text;
    int rc;

    if ((uint64_t)a->rows * a->width * sizeof(float) > ANSWER_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "%zu tokens with %u scores each are more than an answer holds; try a shorter "
                    "text",
                    a->rows, a->width);
    a->values = mem_zalloc(a->rows * a->width, sizeof(float));
    if (!a->values)
        return fail(err, LLMOS_ENOMEM, "no memory for %zu rows", a->rows);
    rc =
        want->kind == ENCODE_EMBED
            ? llmos_encoder_embed(s->encoder, t->tokens, t->count, want->normalizes, a->values, err)
            : llmos_encoder_classify(s->encoder, t->tokens, t->count, t->second, a->values, err);
    if (rc == 0 && !all_finite(a->values, a->rows * a->width))
        rc = fail(err, LLMOS_EFORMAT,
                  "the model computed something that is no number: its weights are damaged, or too "
                  "large for their type");
    return rc;
}

static int answer(struct serve *s, uint64_t id, const struct text *t,
                  const struct message_encode *want, struct llmos_error *err)
{
    struct answer a = {.id = id, .text = t, .rows = 1};
    struct llmos_encoder_info info;
    int rc;

    llmos_encoder_info(s->encoder, &info);
    a.width = want->kind == ENCODE_EMBED ? info.width : info.labels;
    a.are_tokens = want->kind == ENCODE_CLASSIFY && info.classifier == LLMOS_CLASSIFIER_TOKEN;
    if (a.are_tokens)
        a.rows = t->count;
    rc = compute(s, &a, want, err);
    if (rc == 0)
        rc = say(s, &a, err);
    mem_free(a.values);
    return rc;
}

static int check(const struct serve *s, const struct message_encode *want, struct llmos_error *err)
{
    struct llmos_encoder_info info;

    if (!s->encoder)
        return fail(err, LLMOS_EINVAL, "this engine was not started to encode");
    llmos_encoder_info(s->encoder, &info);
    if (want->kind == ENCODE_CLASSIFY && info.classifier == LLMOS_CLASSIFIER_NONE)
        return fail(err, LLMOS_EUNSUPPORTED, "the model has no classifier");
    if (want->kind == ENCODE_EMBED && want->input == ENCODE_PAIR)
        return fail(err, LLMOS_EINVAL, "a vector is of one text, only scores are of a pair");
    return 0;
}

int encoding_run(struct serve *s, uint64_t id, const struct message_encode *want,
                 struct llmos_error *err)
{
    struct text t = {NULL, 0, 0, 0};
    int rc = check(s, want, err);

    if (rc == 0)
        rc = tokenize(s, &t, want, err);
    if (rc == 0)
        rc = answer(s, id, &t, want, err);
    mem_free(t.tokens);
    /* Who waits for this answer need not wait until those behind it are computed.  What else goes
     * wrong there is no matter of this request, and will again. */
    if (rc == 0 && wire_turn(s->wire, 0, err) == LLMOS_ECLOSED)
        rc = LLMOS_ECLOSED;
    return rc;
}
