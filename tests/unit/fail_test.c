/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fail.h"

#include "test.h"

#include <errno.h>

TEST(fail_returns_its_code_and_fills_the_text)
{
    struct llmos_error err = {0};

    CHECK_INT(fail(&err, LLMOS_EFORMAT, "%d tensors", 3), LLMOS_EFORMAT);
    CHECK_INT(err.code, LLMOS_EFORMAT);
    CHECK_STR(err.text, "3 tensors");
    CHECK_INT(fail(NULL, LLMOS_EIO, "nobody listens"), LLMOS_EIO);
}

TEST(fail_while_puts_context_in_front)
{
    struct llmos_error err = {0};

    fail(&err, LLMOS_EFORMAT, "it is empty");
    CHECK_INT(fail_while(&err, err.code, "model '%s'", "a.gguf"), LLMOS_EFORMAT);
    CHECK_STR(err.text, "model 'a.gguf': it is empty");
}

TEST(fail_errno_names_the_reason)
{
    struct llmos_error err = {0};

    errno = ENOENT;
    CHECK_INT(fail_errno(&err, "cannot open '%s'", "x"), LLMOS_ENOTFOUND);
    CHECK_STR(err.text, "cannot open 'x': No such file or directory");
}

TEST(fail_cuts_long_texts_at_a_character)
{
    struct llmos_error err = {0};
    char name[600] = "";

    for (int i = 0; i < 150; i++)
        strcat(name, "\xc3\xa4");
    fail(&err, LLMOS_EINVAL, "%s", name);
    CHECK(strlen(err.text) < sizeof(err.text));
    CHECK_STR(err.text + strlen(err.text) - 5, "\xc3\xa4...");
}

TEST(fail_replaces_control_characters_and_broken_utf8)
{
    struct llmos_error err = {0};

    fail(&err, LLMOS_EINVAL,
         "a\x1b[31mb\nc\xff"
         "d\xc2\x9b"
         "e\xe2\x82");
    CHECK_STR(err.text, "a?[31mb?c?d??e??");
}

TEST(fail_names_every_code)
{
    CHECK_STR(llmos_error_name(LLMOS_EFORMAT), "bad_format");
    CHECK_STR(llmos_error_name(LLMOS_ECONTEXT), "context_length_exceeded");
    CHECK_STR(llmos_error_name(1), "unknown");
}
