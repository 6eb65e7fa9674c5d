/* SPDX-License-Identifier: Apache-2.0 */
/* wordsteps_test.c - what a tokenizer.json says of texts before WordPiece, and what is refused. */
#include "test.h"

#include "model/wordsteps.h"

#define BERT_CUT ", \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}"

static struct llmos_error err;

static int read_json(unsigned *steps, const char *text)
{
    struct jsondoc doc;
    struct arena arena;
    int rc;

    arena_init(&arena, 1 << 16);
    CHECK_INT(jsondoc_parse(&doc, &arena, str_of(text), "tokenizer.json", &err), 0);
    rc = wordsteps_read(steps, jdoc_root(&doc), &err);
    arena_fini(&arena);
    return rc;
}

/* The steps by name. */
static const char *steps_of(const char *text)
{
    static char names[WORDSTEPS_TEXT_MAX];
    unsigned steps = 0, again = 0;

    if (read_json(&steps, text) < 0)
        TEST_FAIL("%s: %s", text, err.text);
    wordsteps_print(steps, names);
    CHECK_INT(wordsteps_parse(&again, str_of(names), &err), 0);
    CHECK_INT(again, steps);
    return names;
}

static const char *refusal(const char *text)
{
    unsigned steps = 77;

    CHECK_INT(read_json(&steps, text), LLMOS_EUNSUPPORTED);
    CHECK_INT(steps, 77);
    return err.text;
}

TEST(wordsteps_are_what_the_flags_of_bert_say)
{
#define BERT(flags) "{\"normalizer\": {\"type\": \"BertNormalizer\"" flags "}" BERT_CUT

    CHECK_STR(steps_of(BERT("")),
              "clean_text handle_chinese_chars strip_accents lowercase punctuation");
    CHECK_STR(steps_of(BERT(", \"clean_text\": false, \"handle_chinese_chars\": false")),
              "strip_accents lowercase punctuation");
    CHECK_STR(steps_of(BERT(", \"strip_accents\": null, \"lowercase\": false")),
              "clean_text handle_chinese_chars punctuation");
    CHECK_STR(steps_of(BERT(", \"strip_accents\": true, \"lowercase\": false")),
              "clean_text handle_chinese_chars strip_accents punctuation");
    CHECK_STR(steps_of(BERT(", \"strip_accents\": false, \"lowercase\": true")),
              "clean_text handle_chinese_chars lowercase punctuation");
}

TEST(wordsteps_of_a_sequence_are_those_of_its_parts)
{
    CHECK_STR(steps_of("{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": "
                       "\"NFD\"}, {\"type\": \"Lowercase\"}, {\"type\": \"StripAccents\"}]}, "
                       "\"pre_tokenizer\": {\"type\": \"Whitespace\"}}"),
              "strip_accents strip_marks lowercase runs");
    CHECK_STR(steps_of("{\"normalizer\": {\"type\": \"StripAccents\"}, \"pre_tokenizer\": "
                       "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
                       "\"WhitespaceSplit\"}, {\"type\": \"Punctuation\"}]}}"),
              "strip_marks punctuation");
    CHECK_STR(
        steps_of("{\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}}"), "");
}

TEST(wordsteps_that_are_not_known_are_refused_by_name)
{
    CHECK_CONTAINS(refusal("{\"normalizer\": {\"type\": \"NFKC\"}" BERT_CUT), "'NFKC'");
    CHECK_CONTAINS(refusal("{\"normalizer\": {\"type\": \"NFD\"}" BERT_CUT), "leaves both");
    CHECK_CONTAINS(refusal("{\"normalizer\": 7" BERT_CUT), "'' in 'tokenizer.json'");
    CHECK_CONTAINS(refusal("{\"pre_tokenizer\": {\"type\": \"Digits\"}}"), "'Digits'");
    CHECK_CONTAINS(refusal("{\"pre_tokenizer\": {\"type\": \"Punctuation\", \"behavior\": "
                           "\"Removed\"}}"),
                   "'Punctuation'");
    CHECK_CONTAINS(refusal("{\"pre_tokenizer\": {\"type\": \"Punctuation\"}}"),
                   "does not end words at white space");
    CHECK_CONTAINS(refusal("{\"pre_tokenizer\": null}"), "does not end words at white space");
}

TEST(wordsteps_of_a_file_must_be_known)
{
    unsigned steps = 77;

    CHECK_INT(wordsteps_parse(&steps, STR("lowercase sparkle"), &err), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "'sparkle'");
    CHECK_INT(wordsteps_parse(&steps, STR("lowercase  runs"), &err), LLMOS_EUNSUPPORTED);
    CHECK_INT(steps, 77);
    CHECK_INT(wordsteps_parse(&steps, STR(""), &err), 0);
    CHECK_INT(steps, 0);
}

TEST(wordsteps_follow_a_configuration_where_there_is_no_tokenizer)
{
    struct jsondoc doc;
    struct arena arena;

    CHECK_INT(wordsteps_of_config(JDOC_ABSENT), WORDSTEPS_BERT | WORDSTEPS_UNCASED);
    arena_init(&arena, 1 << 16);
    CHECK_INT(jsondoc_parse(&doc, &arena,
                            STR("{\"do_lower_case\": false, \"tokenize_chinese_chars\": false}"),
                            "tokenizer_config.json", &err),
              0);
    CHECK_INT(wordsteps_of_config(jdoc_root(&doc)), WORDSTEP_CLEAN | WORDSTEP_PUNCTUATION);
    arena_fini(&arena);
}
