/* SPDX-License-Identifier: Apache-2.0 */
/* hflabels_test.c - a classifier that somebody trained is as often right as its maker published */
#include "llmos/encoder.h"
#include "test.h"

#include "hfmodel.h"
#include "shared_file.h"

#define RIGHT  11 /* eval_metrics.json: an accuracy of 0.6111 */
#define TEXTS  18
#define TOKENS 160

/* The value of a key in a line of JSON that has no escapes. */
static struct str value_of(const char *line, const char *key)
{
    char begin[32];
    const char *at;

    snprintf(begin, sizeof(begin), "\"%s\": \"", key);
    at = strstr(line, begin);
    CHECK(at && !strchr(line, '\\'));
    at += strlen(begin);
    return (struct str){at, strcspn(at, "\"")};
}

static uint32_t best_label(llmos_encoder *e, const llmos_model *m, struct str text)
{
    struct llmos_encoder_info info;
    int32_t tokens[TOKENS];
    float scores[16];
    uint32_t best = 0;
    long n = llmos_tokenize(llmos_model_tokenizer(m), text.at, text.len,
                            LLMOS_TOKENIZE_ADD_BOS | LLMOS_TOKENIZE_ADD_EOS, tokens, TOKENS, NULL);

    CHECK(n > 2 && n <= TOKENS);
    llmos_encoder_info(e, &info);
    CHECK_INT(info.labels, 6);
    CHECK_INT(llmos_encoder_classify(e, tokens, (size_t)n, (size_t)n, scores, NULL), 0);
    for (uint32_t i = 1; i < info.labels; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

static void count_right(const char *folder, FILE *texts, int type)
{
    llmos_model *m = hfmodel_open(folder, type);
    llmos_encoder *e = NULL;
    char line[1024];
    int right = 0, count = 0;

    CHECK_INT(llmos_encoder_create(&e, m, NULL, NULL), 0);
    rewind(texts);
    while (fgets(line, sizeof(line), texts)) {
        uint32_t label = best_label(e, m, value_of(line, "text"));

        right += str_is(value_of(line, "label"), llmos_encoder_label(e, label));
        count++;
    }
    CHECK_INT(count, TEXTS);
    CHECK_INT(right, RIGHT);
    llmos_encoder_destroy(e);
    llmos_model_close(m);
}

TEST(hflabels_of_tickets_are_as_often_right_as_was_published)
{
    struct shared_path folder = shared_file("models/bert-tickets");
    struct shared_path path = shared_file("models/bert-tickets/validation.jsonl");
    FILE *texts = path.text[0] ? fopen(path.text, "r") : NULL;

    if (!texts)
        SKIP("../shared/models/bert-tickets is missing");
    count_right(folder.text, texts, DTYPE_F32);
    count_right(folder.text, texts, DTYPE_F16);
    count_right(folder.text, texts, DTYPE_Q8_0);
    fclose(texts);
}
