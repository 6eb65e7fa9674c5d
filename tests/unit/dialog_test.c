/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dialog.h"

#include "base/mem.h"
#include "test.h"

static struct dialog d; /* large */

TEST(dialog_keeps_copies_in_order_and_takes_them_back)
{
    CLEANUP(buf) struct buf json = {.at = NULL};
    char text[] = "hello \"you\"\n";

    dialog_init(&d);
    CHECK_INT(dialog_set_system(&d, STR("be kind"), NULL), 0);
    CHECK_INT(dialog_add(&d, "user", str_of(text), NULL), 0);
    memset(text, '!', sizeof(text) - 1);
    CHECK_INT(dialog_add(&d, "assistant", STR("yes"), NULL), 0);
    buf_init(&json, 10000);
    dialog_put_json(&d, &json);
    CHECK_STR(json.at, "{\"messages\": [\n"
                       "  {\"role\": \"system\", \"content\": \"be kind\"},\n"
                       "  {\"role\": \"user\", \"content\": \"hello \\\"you\\\"\\n\"},\n"
                       "  {\"role\": \"assistant\", \"content\": \"yes\"}\n"
                       "]}\n");
    dialog_cut(&d, 2);
    CHECK(str_is(d.messages[d.count - 1].role, "user"));
    dialog_reset(&d);
    CHECK_INT(d.count, 1);
    CHECK(str_is(d.messages[0].content, "be kind"));
    CHECK_INT(dialog_set_system(&d, STR(""), NULL), 0);
    CHECK_INT(d.count, 0);
    dialog_fini(&d);
}

TEST(dialog_says_when_there_are_too_many_messages)
{
    struct llmos_error err = {0};

    dialog_init(&d);
    for (int i = 0; i < DIALOG_MESSAGES_MAX; i++)
        CHECK_INT(dialog_add(&d, "user", STR("x"), &err), 0);
    CHECK_INT(dialog_add(&d, "user", STR("x"), &err), LLMOS_ELIMIT);
    CHECK_CONTAINS(err.text, "the conversation has 4096 messages");
    dialog_fini(&d);
}

TEST(dialog_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        int rc;

        dialog_init(&d);
        rc = dialog_set_system(&d, STR("system"), NULL);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        CHECK(d.count == (rc == 0));
        rc = dialog_add(&d, "user", STR("question"), NULL);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        dialog_reset(&d);
        CHECK(d.count <= 1);
        CHECK(d.count == 0 || str_is(d.messages[0].content, "system"));
        dialog_fini(&d);
    }
}
