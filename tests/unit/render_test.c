/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/render.h"

#include "base/json.h"
#include "base/mem.h"
#include "test.h"

static const char text[] =
    "{\"name\": \"tiny\\u001b[2J\", \"file_bytes\": 1572864, \"parameters\": 1000, \"tied\": true,"
    " \"metadata\": {\"general.file_type\": 1, \"scores\": {\"type\": \"f32\", \"count\": 512, "
    "\"first\": [0.5]}, \"tokens\": [1,2,3,4,5,6,7,8,9,10]},"
    " \"memory\": {\"weight_bytes\": 1024, \"none\": null},"
    " \"tensors\": [{\"name\": \"a\", \"shape\": [64, 512], \"bytes\": 2048},"
    "               {\"name\": \"longer\", \"shape\": [64], \"other\": 1}],"
    " \"empty\": [], \"nothing\": {}}";

TEST(render_makes_sections_and_tables_and_cleans_texts)
{
    struct json_limits limits = JSON_LIMITS_INIT;
    CLEANUP(buf) struct buf out = {.at = NULL};
    json_t *value = NULL;

    CHECK_INT(json_parse(&value, str_of(text), &limits, NULL), 0);
    buf_init(&out, 100000);
    render(value, &out);
    json_decref(value);
    CHECK_STR(out.at, "  name        tiny\xef\xbf\xbd[2J\n"
                      "  file        1.5 MiB\n"
                      "  parameters  1000\n"
                      "  tied        yes\n"
                      "  empty       []\n"
                      "  nothing     {...}\n"
                      "\n"
                      "METADATA\n"
                      "  general.file_type  1\n"
                      "  scores             512 of f32: [0.5]\n"
                      "  tokens             [1, 2, 3, 4, 5, 6, 7, 8, ... 10 in all]\n"
                      "\n"
                      "MEMORY\n"
                      "  weight  1.0 KiB\n"
                      "  none    -\n"
                      "\n"
                      "TENSORS\n"
                      "  name    shape        bytes\n"
                      "  a       [64, 512]  2.0 KiB\n"
                      "  longer  [64]\n");
}

TEST(render_survives_every_failed_allocation)
{
    struct json_limits limits = JSON_LIMITS_INIT;
    json_t *value = NULL;

    CHECK_INT(json_parse(&value, str_of(text), &limits, NULL), 0);
    EVERY_ALLOCATION_FAILS
    {
        struct buf out;

        buf_init(&out, 100000);
        render(value, &out);
        CHECK(out.bad == mem_failed());
        buf_fini(&out);
    }
    json_decref(value);
}
