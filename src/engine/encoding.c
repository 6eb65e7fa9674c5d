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

/* A text in the line. */
struct encoding {
    struct encoding *next;
    uint64_t id;
    struct text text;
    struct llmos_error why; /* it is answered with; code 0: with what is computed */
    bool classifies, normalizes;
    bool are_tokens; /* the rows */
    bool is_canceled;
    float *values; /* of the step that runs */
    size_t rows;
    uint32_t width;
};

/* What a token says, of the unknown one its name; empty where a row is for the whole text. */
static struct str piece_of(const struct serve *s, const struct encoding *e, size_t row)
{
    const llmos_tokenizer *k = llmos_model_tokenizer(s->model);
    struct str piece = {"", 0};
    int32_t token;

    if (!e->are_tokens)
        return piece;
    token = e->text.tokens[row];
    if (llmos_token_is_control(k, token))
        return piece;
    piece.len = llmos_token_piece(k, token, true, &piece.at);
    if (piece.len > MESSAGE_PIECE_BYTES_MAX)
        piece.len = MESSAGE_PIECE_BYTES_MAX;
    return piece;
}

/* Fails if the host is gone, or there is no memory, of which the error says which. */
static int say_rows(struct serve *s, const struct encoding *e, struct llmos_error *err)
{
    struct str *pieces = mem_zalloc(e->rows, sizeof(*pieces));
    size_t at = 0;
    int rc = pieces ? 0 : fail(err, LLMOS_ENOMEM, "no memory for %zu rows", e->rows);

    while (rc == 0 && at < e->rows) {
        size_t n = 0, bytes = 0;

        for (; at + n < e->rows && bytes < FRAME_BYTES; n++) {
            pieces[n] = piece_of(s, e, at + n);
            bytes += pieces[n].len + 4 + 4 * (size_t)e->width;
        }
        wire_put(s->wire, &(struct message){.type = MESSAGE_VECTOR,
                                            .id = e->id,
                                            .vector = {.last = at + n == e->rows,
                                                       .tokens = (uint32_t)e->text.count,
                                                       .cut = (uint32_t)e->text.cut,
                                                       .width = e->width,
                                                       .rows = (uint32_t)n,
                                                       .pieces = pieces,
                                                       .values = e->values + at * e->width}});
        at += n;
        if (!wire_is_calm(s->wire))
            rc = wire_drain(s->wire, false, err);
    }
    mem_free(pieces);
    return rc;
}

/* LLMOS_ECLOSED only. */
static int say(struct serve *s, struct encoding *e, struct llmos_error *err)
{
    int rc = 0;

    if (e->is_canceled)
        return 0; /* it was told */
    if (!e->why.code && !all_finite(e->values, e->rows * e->width))
        fail(&e->why, LLMOS_EFORMAT,
             "the model computed something that is no number: its weights are damaged, or too "
             "large for their type");
    if (!e->why.code)
        rc = say_rows(s, e, &e->why);
    if (rc == LLMOS_ECLOSED)
        return fail(err, rc, "%s", e->why.text);
    if (e->why.code)
        wire_put_error(s->wire, e->id, e->why.code, e->why.text);
    return 0;
}

/* ---- the line ---- */

static size_t bytes_of(const struct encoding *e)
{
    return sizeof(*e) + e->text.count * sizeof(*e->text.tokens);
}

/* Takes *at, which is s->encodings or the `next` of one, out of the line. */
static void leave(struct serve *s, struct encoding **at)
{
    struct encoding *e = *at;

    *at = e->next;
    if (!e->next)
        s->encodings_end = at;
    s->encodings_count--;
    s->encodings_bytes -= bytes_of(e);
    mem_free(e->values);
    mem_free(e->text.tokens);
    mem_free(e);
}

static int check(const struct serve *s, const struct message_encode *want, struct llmos_error *err)
{
    struct llmos_encoder_info info;

    llmos_encoder_info(s->encoder, &info);
    if (want->kind == ENCODE_CLASSIFY && info.classifier == LLMOS_CLASSIFIER_NONE)
        return fail(err, LLMOS_EUNSUPPORTED, "the model has no classifier");
    if (want->kind == ENCODE_EMBED && want->input == ENCODE_PAIR)
        return fail(err, LLMOS_EINVAL, "a vector is of one text, only scores are of a pair");
    return 0;
}

/* The tokens, and what the answer will be. */
static int prepare(const struct serve *s, struct encoding *e, const struct message_encode *want,
                   struct llmos_error *err)
{
    struct llmos_encoder_info info;
    int rc = check(s, want, err);

    if (rc == 0)
        rc = tokenize(s, &e->text, want, err);
    if (rc < 0)
        return rc;
    llmos_encoder_info(s->encoder, &info);
    e->classifies = want->kind == ENCODE_CLASSIFY;
    e->normalizes = want->normalizes;
    e->are_tokens = e->classifies && info.classifier == LLMOS_CLASSIFIER_TOKEN;
    e->rows = e->are_tokens ? e->text.count : 1;
    e->width = e->classifies ? info.labels : info.width;
    if ((uint64_t)e->rows * e->width * sizeof(float) > ANSWER_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "%zu tokens with %u scores each are more than an answer holds; try a shorter "
                    "text",
                    e->rows, e->width);
    return 0;
}

int encoding_ask(struct serve *s, uint64_t id, const struct message_encode *want,
                 struct llmos_error *err)
{
    struct encoding *e;

    if (!s->encoder)
        return fail(err, LLMOS_EINVAL, "this engine was not started to encode");
    if (s->encodings_count >= SERVE_WAITING_MAX || s->encodings_bytes >= SERVE_WAITING_BYTES_MAX)
        return fail(err, LLMOS_EBUSY, "%u texts wait already; try again later", s->encodings_count);
    e = mem_zalloc(1, sizeof(*e));
    if (!e)
        return fail(err, LLMOS_ENOMEM, "no memory for a text");
    e->id = id;
    if (prepare(s, e, want, &e->why) < 0) {
        mem_free(e->text.tokens);
        e->text = (struct text){NULL, 0, 0, 0};
    }
    *s->encodings_end = e;
    s->encodings_end = &e->next;
    s->encodings_count++;
    s->encodings_bytes += bytes_of(e);
    return 0;
}

void encoding_cancel(struct serve *s, uint64_t id)
{
    struct encoding **at = &s->encodings;
    uint32_t i = 0;

    for (; *at && (*at)->id != id; at = &(*at)->next)
        i++;
    if (!*at || (*at)->is_canceled)
        return;
    wire_put_error(s->wire, id, LLMOS_ECANCELED, "the text was canceled");
    if (i < s->encodings_running)
        (*at)->is_canceled = true;
    else
        leave(s, at);
}

void encoding_fini(struct serve *s)
{
    while (s->encodings)
        leave(s, &s->encodings);
}

/* ---- a step ---- */

struct hearing {
    struct serve *s;
    int rc;
    struct llmos_error err;
};

/* Does somebody still want what is computed?  Hears what is new. */
static bool goes_on(void *arg)
{
    struct hearing *h = arg;
    const struct encoding *e = h->s->encodings;

    h->rc = serve_hear(h->s, 0, &h->err);
    if (h->rc < 0)
        return false;
    for (uint32_t i = 0; i < h->s->encodings_running; i++, e = e->next)
        if (!e->is_canceled)
            return true;
    return false;
}

/* The first texts, up to one that is refused, with room for their values; as many as a step may
 * take.  If there is no memory for the first, it is refused. */
static size_t gather(struct serve *s, struct llmos_encoder_text texts[LLMOS_ENCODER_TEXTS_MAX])
{
    struct llmos_encoder_info info;
    size_t n = 0, tokens = 0;

    llmos_encoder_info(s->encoder, &info);
    for (struct encoding *e = s->encodings; e && n < LLMOS_ENCODER_TEXTS_MAX; e = e->next) {
        tokens += e->text.count;
        if (e->why.code || (n > 0 && tokens > info.batch_tokens))
            break;
        if (!e->values)
            e->values = mem_zalloc(e->rows * e->width, sizeof(float));
        if (!e->values && n == 0)
            fail(&e->why, LLMOS_ENOMEM, "no memory for %zu rows", e->rows);
        if (!e->values)
            break;
        texts[n++] = (struct llmos_encoder_text){.tokens = e->text.tokens,
                                                 .count = e->text.count,
                                                 .segment_b = e->text.second,
                                                 .classifies = e->classifies,
                                                 .normalizes = e->normalizes,
                                                 .out = e->values};
    }
    return n;
}

/* Computes; how many of the first texts can be answered now, with what is in them. */
static int compute(struct serve *s, struct llmos_error *err)
{
    struct llmos_encoder_text texts[LLMOS_ENCODER_TEXTS_MAX];
    struct hearing h = {.s = s};
    struct llmos_error why;
    size_t n = gather(s, texts);
    long done;

    if (n == 0)
        return 1; /* is refused */
    s->encodings_running = (uint32_t)n;
    done = llmos_encoder_step(s->encoder, texts, n, goes_on, &h, &why);
    s->encodings_running = 0;
    if (h.rc < 0)
        return fail(err, h.rc, "%s", h.err.text);
    if (done == LLMOS_ECANCELED)
        return (int)n;
    if (done < 0)
        s->encodings->why = why;
    return done < 0 ? 1 : (int)done;
}

int encoding_step(struct serve *s, struct llmos_error *err)
{
    int n = compute(s, err), rc = n < 0 ? n : 0;

    for (; rc == 0 && n > 0; n--) {
        rc = say(s, s->encodings, err);
        leave(s, &s->encodings);
    }
    return rc;
}
