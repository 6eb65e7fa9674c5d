/* SPDX-License-Identifier: Apache-2.0 */
/* speed_test.c - shares, tables and lines of made-up measurements. */
#include "test.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/speed.h"

#include <sys/stat.h>

/* 100 tokens/s of prefill with 2 G operations each: 0.2 of a 1000 GOP/s limit; 10 tokens/s of
 * decode with 1 GB each: half of 20 GB/s. */
static json_t *point(void)
{
    json_t *p =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "file", "a \"b\", c",
                  "file_type", "q8_0", "cpu", "CPU & Co", "version", "1", "threads", 2,
                  "prompt_tokens", 512, "generated_tokens", 128, "depth", 0, "sequences", 1);
    static const struct {
        const char *key;
        double v;
    } numbers[] = {
        {"prefill_tokens_per_second", 100},         {"decode_tokens_per_second", 10},
        {"prefill_int8_operations_per_token", 2e9}, {"prefill_bf16_operations_per_token", 0},
        {"prefill_f32_operations_per_token", 0},    {"decode_bytes_per_token", 1e9},
        {"limit_read_gb_per_second", 20},           {"limit_int8_gop_per_second", 1000},
        {"limit_bf16_gflop_per_second", 0},         {"limit_f32_gflop_per_second", 100},
    };

    CHECK(p);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        json_object_set_new(p, numbers[i].key, json_real(numbers[i].v));
    return p;
}

static double share(json_t *p, const char *key)
{
    CHECK_INT(speed_add_shares(p, NULL), 0);
    return json_number_value(json_object_get(p, key));
}

TEST(speed_is_a_share_of_what_the_machine_can_do)
{
    json_t *p = point();

    CHECK_NEAR(share(p, "prefill_share_of_compute"), 0.2, 1e-9);
    CHECK_NEAR(share(p, "decode_share_of_read"), 0.5, 1e-9);
    json_decref(p);
}

TEST(speed_adds_the_times_of_different_units_up)
{
    json_t *p = point();

    /* 1 G operations more at 100 GFLOP/s: 2 ms and 10 ms a token */
    json_object_set_new(p, "prefill_f32_operations_per_token", json_real(1e9));
    CHECK_NEAR(share(p, "prefill_share_of_compute"), 1.2, 1e-9);
    /* bf16 counts as f32 where there is no unit of its own */
    json_object_set_new(p, "prefill_f32_operations_per_token", json_real(0));
    json_object_set_new(p, "prefill_bf16_operations_per_token", json_real(1e9));
    CHECK_NEAR(share(p, "prefill_share_of_compute"), 1.2, 1e-9);
    json_object_set_new(p, "limit_bf16_gflop_per_second", json_real(200));
    CHECK_NEAR(share(p, "prefill_share_of_compute"), 0.7, 1e-9);
    json_decref(p);
}

TEST(speed_has_no_share_of_a_limit_that_is_not_known)
{
    json_t *p = point();

    json_object_set_new(p, "limit_int8_gop_per_second", json_real(0));
    json_object_del(p, "limit_read_gb_per_second");
    CHECK_INT(speed_add_shares(p, NULL), 0);
    CHECK(!json_object_get(p, "prefill_share_of_compute"));
    CHECK(!json_object_get(p, "decode_share_of_read"));
    json_decref(p);
}

TEST(speed_quotes_what_would_break_a_line)
{
    char path[] = "/tmp/speed-XXXXXX";
    int fd = mkstemp(path);
    json_t *points = json_array();
    struct buf text;

    json_array_append_new(points, point());
    CHECK_INT(speed_append_csv(path, points, NULL), 0);
    CHECK_INT(speed_append_csv(path, points, NULL), 0);
    buf_init(&text, 1 << 16);
    CHECK_INT(file_read(path, &text, NULL), 0);
    unlink(path);
    close(fd);
    CHECK(strncmp(text.at, "date,version,cpu,", 17) == 0);
    CHECK(!strstr(text.at + 17, "date,version"));
    CHECK(strstr(text.at, ",\"1\",\"CPU & Co\",2,\"a \"\"b\"\", c\",\"q8_0\",512,128,0,1,\"llmos\","
                          "100,10,,,20,1000,0,100\n"));
    buf_fini(&text);
    json_decref(points);
}

TEST(speed_of_a_sweep_is_a_table_and_a_picture)
{
    json_t *points = json_array(), *p = point();
    struct buf out;

    json_array_append(points, p);
    json_decref(p);
    p = point();
    json_object_set_new(p, "depth", json_integer(512));
    json_object_del(p, "prefill_tokens_per_second");
    json_array_append_new(points, p);
    CHECK(speed_sweep("nothing") == NULL);
    buf_init(&out, 1 << 20);
    speed_put_sweep(points, speed_sweep("context"), &out);
    CHECK(strstr(out.at, "DEPTH") && strstr(out.at, "512        -"));
    buf_clear(&out);
    json_object_set_new(json_array_get(points, 0), "depth", json_integer(128));
    speed_put_plot(points, speed_sweep("context"), &out);
    CHECK(strstr(out.at, "CPU &amp; Co") && !strstr(out.at, "nan"));
    buf_fini(&out);
    json_decref(points);
}
