/* SPDX-License-Identifier: Apache-2.0 */
/* encode.c - see encode.h */
#include "cli/encode.h"

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/texts.h"

#include <math.h>
#include <unistd.h>

/* In flight at once: enough that short texts fill the engine's steps and further ones wait, and few
 * enough that all of them fit the socket's buffer, with what the kernel keeps of each: an engine
 * that hands out answers does not read. */
#define FLYING_MAX       128
#define FLYING_BYTES_MAX 65536

struct flying { /* a text that was sent */
    uint64_t id, index;
    uint64_t end; /* bytes of the input up to behind it */
    char *text;
    size_t len;
};

struct flight {
    struct talk *talk;
    const struct encode_job *job;
    struct texts texts;
    struct flying flying[FLYING_MAX]; /* a ring: the oldest at `first` */
    unsigned first, count;
    size_t bytes;  /* of all of them */
    uint64_t done; /* bytes of the input whose answers are there */
    bool has_line;
    struct str line;        /* that waits for room */
    uint64_t index;         /* its number */
    struct llmos_error end; /* why no more is read; code 0: nothing is wrong */
    /* The answer that is being heard, of several frames. */
    struct buf values, pieces; /* floats; struct span */
    struct buf letters;
};

struct span {
    size_t at, len;
};

/* ---- there ---- */

/* The next line that is no empty one, into f->line; there may be empty ones without end. */
static void read_line(struct flight *f)
{
    while (!f->has_line && !f->end.code && !f->texts.has_ended && !halt_asked()) {
        uint64_t index = f->texts.count;
        int rc = texts_next(&f->texts, &f->line, &f->end);

        if (rc <= 0)
            return;
        f->index = index;
        f->has_line = f->line.len > 0;
    }
}

static int split_pair(const struct flight *f, struct message_encode *q, struct llmos_error *err)
{
    const char *tab = memchr(f->line.at, '\t', f->line.len);

    if (!tab)
        return fail(err, LLMOS_EINVAL, "line %llu has no tab: it is no pair of texts",
                    (unsigned long long)f->index + 1);
    q->text = (struct str){f->line.at, (size_t)(tab - f->line.at)};
    q->second = (struct str){tab + 1, f->line.len - q->text.len - 1};
    return 0;
}

static int send_line(struct flight *f, struct llmos_error *err)
{
    struct message m = {.type = MESSAGE_ENCODE, .encode = f->job->how};
    struct flying *to = &f->flying[(f->first + f->count) % FLYING_MAX];
    int rc = 0;

    if (m.encode.input == ENCODE_PAIR && !m.encode.text.at)
        rc = split_pair(f, &m.encode, err);
    else if (m.encode.input == ENCODE_PAIR)
        m.encode.second = f->line;
    else
        m.encode.text = f->line;
    if (rc < 0)
        return rc;
    to->text = mem_strndup(f->line.at, f->line.len);
    if (!to->text)
        return fail(err, LLMOS_ENOMEM, "no memory for a text");
    to->len = f->line.len;
    to->index = f->index;
    to->end = f->texts.done;
    f->count++;
    f->bytes += to->len;
    f->has_line = false;
    rc = talk_send(f->talk, &m, err);
    to->id = m.id;
    return rc;
}

/* All lines that are there and find room.  A line that cannot be sent ends the reading: those
 * before it are answered first.  How an engine has ended is heard, behind its last answers. */
static int send_lines(struct flight *f, struct llmos_error *err)
{
    for (;;) {
        struct llmos_error why;
        int rc;

        read_line(f);
        if (!f->has_line || f->count == FLYING_MAX ||
            (f->count > 0 && f->bytes + f->line.len > FLYING_BYTES_MAX))
            return 0;
        rc = send_line(f, &why);
        if (rc == LLMOS_EINVAL || rc == LLMOS_ECLOSED) {
            f->end = why;
            f->has_line = false;
        } else if (rc < 0) {
            return fail(err, rc, "%s", why.text);
        }
    }
}

/* ---- and back ---- */

static void land(struct flight *f)
{
    struct flying *old = &f->flying[f->first];

    mem_free(old->text);
    old->text = NULL;
    f->done = old->end;
    f->bytes -= old->len;
    f->first = (f->first + 1) % FLYING_MAX;
    f->count--;
}

static void keep_rows(struct flight *f, const struct message_vector *v)
{
    for (uint32_t i = 0; i < v->rows; i++) {
        struct span s = {f->letters.len, v->pieces[i].len};

        buf_put(&f->letters, v->pieces[i].at, v->pieces[i].len);
        buf_put(&f->pieces, &s, sizeof(s));
    }
    buf_put(&f->values, v->values, (size_t)v->rows * v->width * sizeof(float));
}

/* The whole answer to the oldest text. */
static int hand_on(struct flight *f, const struct message_vector *v, struct llmos_error *err)
{
    const struct flying *old = &f->flying[f->first];
    size_t rows = f->pieces.len / sizeof(struct span);
    struct str *pieces = mem_zalloc(rows, sizeof(*pieces));
    struct encoded e = {.index = old->index,
                        .text = {old->text, old->len},
                        .tokens = v->tokens,
                        .cut = v->cut,
                        .width = v->width,
                        .rows = (uint32_t)rows,
                        .pieces = pieces};
    int rc;

    if (!pieces || f->values.bad || f->pieces.bad || f->letters.bad) {
        mem_free(pieces);
        return fail(err, LLMOS_ENOMEM, "no memory for an answer");
    }
    for (size_t i = 0; i < rows; i++) {
        struct span s;

        memcpy(&s, f->pieces.at + i * sizeof(s), sizeof(s));
        pieces[i] = (struct str){buf_str(&f->letters).at + s.at, s.len};
    }
    e.values = (const float *)f->values.at;
    rc = f->job->sink(f->job->cookie, &e, err);
    mem_free(pieces);
    return rc;
}

static int take_answer(struct flight *f, const struct message *m, struct llmos_error *err)
{
    const struct flying *old = &f->flying[f->first];
    int rc = 0;

    if (m->id == 0)
        return 0;
    if (m->id != old->id)
        return fail(err, LLMOS_EFORMAT, "the engine answers in another order than it was asked in");
    if (m->type == MESSAGE_ERROR)
        return fail(err, m->error.code, "line %llu: %.*s%s", (unsigned long long)old->index + 1,
                    STR_ARG(m->error.text),
                    m->error.code == LLMOS_ECONTEXT && !f->job->how.cuts ? "; try --truncate" : "");
    keep_rows(f, &m->vector);
    if (!m->vector.last)
        return 0;
    rc = hand_on(f, &m->vector, err);
    land(f);
    buf_clear(&f->values);
    buf_clear(&f->pieces);
    buf_clear(&f->letters);
    return rc;
}

/* Waits a moment for an answer if one is due, else for input. */
static int wait(struct flight *f, struct llmos_error *err)
{
    struct message m;
    int rc;

    if (f->count == 0)
        return halt_or_readable(f->texts.fd) < 0 ? fail_errno(err, "cannot wait for the input") : 0;
    rc = talk_hear(f->talk, &m, err);
    return rc == 1 ? take_answer(f, &m, err) : rc;
}

/* ---- all of it ---- */

static bool goes_on(const struct flight *f)
{
    return f->count > 0 || f->has_line || !(f->texts.has_ended || f->end.code);
}

static void draw(struct flight *f)
{
    if (f->texts.total)
        spinner_bar(&f->talk->spinner, f->done, f->texts.total);
    else
        spinner_turn(&f->talk->spinner);
}

static void begin(struct flight *f)
{
    texts_init(&f->texts, STDIN_FILENO);
    buf_init(&f->values, TALK_REPLY_MAX);
    buf_init(&f->pieces, TALK_REPLY_MAX);
    buf_init(&f->letters, TALK_REPLY_MAX);
    spinner_start(&f->talk->spinner, f->job->what);
    /* What is printed, or typed, shows that something happens, and needs the line for itself. */
    if (isatty(STDOUT_FILENO) || isatty(STDIN_FILENO))
        f->talk->spinner.on = false;
}

static void end(struct flight *f)
{
    spinner_clear(&f->talk->spinner);
    while (f->count > 0)
        land(f);
    buf_fini(&f->values);
    buf_fini(&f->pieces);
    buf_fini(&f->letters);
    texts_fini(&f->texts);
}

int encode_lines(struct talk *t, const struct encode_job *job, struct llmos_error *err)
{
    struct flight f = {.talk = t, .job = job};
    int rc = 0;

    begin(&f);
    do {
        rc = send_lines(&f, err);
        if (rc == 0 && goes_on(&f))
            rc = wait(&f, err);
        if (rc == 0 && halt_asked())
            rc = fail(err, LLMOS_ECANCELED, "interrupted");
        draw(&f);
    } while (rc == 0 && goes_on(&f));
    if (rc == 0 && f.end.code)
        rc = fail(err, f.end.code, "%s", f.end.text);
    end(&f);
    return rc;
}

/* ---- what is made of answers ---- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void softmax(const float *values, uint32_t count, double *scores)
{
    double most = (double)values[0], sum = 0;

    for (uint32_t i = 1; i < count; i++)
        most = fmax(most, (double)values[i]);
    for (uint32_t i = 0; i < count; i++)
        sum += scores[i] = exp((double)values[i] - most);
    for (uint32_t i = 0; i < count; i++)
        scores[i] /= sum;
}

void encode_scores(const float *values, uint32_t count, const char *how, double *scores)
{
    if (!how)
        how = count == 1 ? "sigmoid" : "softmax";
    if (strcmp(how, "softmax") == 0) {
        softmax(values, count, scores);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        scores[i] = strcmp(how, "raw") == 0 ? (double)values[i] : sigmoid((double)values[i]);
}

void encode_put_cut(struct buf *out, const struct encode_options *o, uint32_t cut)
{
    if (o->truncate)
        buf_printf(out, ",\"tokens_cut\":%u", cut);
}

int encode_print(struct buf *line, int *code, struct llmos_error *err)
{
    *code = cli_print_buf(line);
    buf_clear(line);
    return *code == EXIT_OK ? 0 : fail(err, LLMOS_ECLOSED, "nobody reads the answers");
}

int encode_failed(int code, const struct llmos_error *err)
{
    if (code != EXIT_OK)
        return code;
    return halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(err);
}
