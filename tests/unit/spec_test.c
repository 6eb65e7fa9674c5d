/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/mem.h"
#include "vce/spec.h"

static struct llmos_error err;

static int parse(struct spec *s, const char *text)
{
    memset(&err, 0, sizeof(err));
    return spec_parse(s, str_of(text), &err);
}

static void all_hold(struct vce_layer_state layers[VCE_LAYER_COUNT])
{
    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        layers[i] = (struct vce_layer_state){true, "fine"};
}

TEST(spec_comes_back_as_it_was_written)
{
    struct spec s = {.name = "phi-3",
                     .skip = VCE_BIT(VCE_NET) | VCE_BIT(VCE_LIMITS),
                     .required = VCE_BIT(VCE_USER),
                     .memory_max_bytes = (uint64_t)1 << 40,
                     .mapped_bytes = 12345,
                     .write_max_bytes = 67890,
                     .is_background = true,
                     .cgroup = "/a/b\n/c/d",
                     .limits_problem = "none \"here\"",
                     .limits_detail = "v1"};
    struct spec again;
    struct buf b;

    buf_init(&b, SPEC_BYTES_MAX);
    spec_put(&b, &s);
    CHECK(!b.bad);
    CHECK_INT(spec_parse(&again, buf_str(&b), &err), 0);
    CHECK_STR(again.name, s.name);
    CHECK_INT(again.skip, s.skip);
    CHECK_INT(again.required, s.required);
    CHECK(!again.require_default);
    CHECK(again.memory_max_bytes == s.memory_max_bytes);
    CHECK_INT(again.mapped_bytes, s.mapped_bytes);
    CHECK_INT(again.write_max_bytes, s.write_max_bytes);
    CHECK(again.is_background);
    CHECK_STR(again.cgroup, s.cgroup);
    CHECK_STR(again.limits_problem, s.limits_problem);
    CHECK_STR(again.limits_detail, s.limits_detail);
    buf_fini(&b);
}

TEST(spec_requires_the_default_rule_unless_told_otherwise)
{
    struct spec s;

    CHECK_INT(parse(&s, "{\"name\":\"a\"}"), 0);
    CHECK(s.require_default);
    CHECK_INT(s.skip, 0);
    CHECK_INT(s.write_max_bytes, 0);
    CHECK(!s.is_background);
}

TEST(spec_refuses_what_it_does_not_know)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "not JSON"},
        {"[]", "not a JSON object"},
        {"{}", "'name' is missing"},
        {"{\"name\":\"\"}", "only a-z"},
        {"{\"name\":\"../x\"}", "only a-z"},
        {"{\"name\":\"abcdefghijklmnopqrstuvwxyz0123456789\"}", "36 bytes"},
        {"{\"name\":7}", "'name' is not a text"},
        {"{\"name\":\"a\",\"surprise\":1}", "'surprise' is not known"},
        {"{\"name\":\"a\",\"skip\":\"net\"}", "'skip' is not a list"},
        {"{\"name\":\"a\",\"skip\":[\"nte\"]}", "layer that does not exist"},
        {"{\"name\":\"a\",\"required\":[3]}", "layer that does not exist"},
        {"{\"name\":\"a\",\"require_default\":1}", "neither true nor false"},
        {"{\"name\":\"a\",\"memory_max_bytes\":-1}", "not a number of bytes"},
        {"{\"name\":\"a\",\"memory_max_bytes\":1e3}", "not a number of bytes"},
        {"{\"name\":\"a\",\"memory_max_bytes\":9223372036854775808}", "not JSON"},
        {"{\"name\":\"a\",\"name\":\"b\"}", "not JSON"},
        {"{\"name\":\"a\"} x", "not JSON"},
        {"{\"name\":\"a\",\"cgroup\":\"x\\u0000y\"}", "not JSON"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct spec s = {.name = "untouched"};

        CHECK(parse(&s, cases[i].text) < 0);
        CHECK_CONTAINS(err.text, cases[i].says);
        CHECK_STR(s.name, "untouched");
    }
}

TEST(spec_refuses_more_than_its_size)
{
    char *text = malloc(SPEC_BYTES_MAX + 2);
    struct spec s;

    memset(text, ' ', SPEC_BYTES_MAX + 1);
    text[SPEC_BYTES_MAX + 1] = 0;
    CHECK_INT(parse(&s, text), LLMOS_ELIMIT);
    text[0] = '{';
    memcpy(text + SPEC_BYTES_MAX - 12, "\"name\":\"a\"} ", 12);
    text[SPEC_BYTES_MAX] = 0;
    CHECK_INT(parse(&s, text), 0);
    free(text);
}

TEST(report_comes_back_as_it_was_written)
{
    struct vce_layer_state layers[VCE_LAYER_COUNT];
    struct report r;
    struct buf b;

    all_hold(layers);
    layers[VCE_NET] = (struct vce_layer_state){false, "refused: \"why\""};
    buf_init(&b, SPEC_BYTES_MAX);
    report_put_pid(&b, 4711);
    report_put_layers(&b, layers);
    CHECK_INT(report_parse(&r, buf_str(&b), &err), 0);
    CHECK_INT(r.pid, 4711);
    CHECK(r.is_complete);
    CHECK(r.layers[VCE_USER].holds && !r.layers[VCE_NET].holds);
    CHECK_STR(r.layers[VCE_NET].detail, "refused: \"why\"");
    buf_fini(&b);
}

TEST(report_carries_an_error)
{
    struct llmos_error why = {LLMOS_EDENIED, "because"};
    struct report r;
    struct buf b;

    buf_init(&b, SPEC_BYTES_MAX);
    report_put_error(&b, &why);
    CHECK_INT(report_parse(&r, buf_str(&b), &err), 0);
    CHECK_INT(r.error.code, LLMOS_EDENIED);
    CHECK_STR(r.error.text, "because");
    CHECK(!r.is_complete);
    buf_fini(&b);
}

TEST(report_is_not_believed)
{
    static const char *const bad[] = {
        "x",
        "{\"pid\":0}",
        "{\"pid\":-1}",
        "{\"pid\":4294967296}",
        "{\"pid\":1.5}",
        "{\"layers\":{}}",
        "{\"layers\":[]}",
        "{\"layers\":{\"user\":{\"holds\":true,\"detail\":\"\"}}}",
        "{\"error\":{\"code\":1,\"text\":\"x\"}}",
        "{\"error\":{\"text\":3}}",
        "{\"other\":1}",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct report r;

        memset(&r, 0, sizeof(r));
        CHECK(report_parse(&r, str_of(bad[i]), &err) < 0);
        CHECK_CONTAINS(err.text, "report of the sandbox");
    }
}

TEST(report_keeps_the_process_of_a_broken_report_for_whoever_cleans_up)
{
    struct report r = {0};

    CHECK(report_parse(&r, STR("{\"pid\":12}\n{\"layers\":1}\n"), &err) < 0);
    CHECK_INT(r.pid, 12);
}

TEST(required_layers_are_named_with_the_reason)
{
    struct spec s = {.required = VCE_BIT(VCE_MDWE)};
    struct vce_layer_state layers[VCE_LAYER_COUNT];

    all_hold(layers);
    CHECK_INT(spec_check_required(&s, layers, &err), 0);
    layers[VCE_MDWE] = (struct vce_layer_state){false, "this kernel cannot"};
    CHECK_INT(spec_check_required(&s, layers, &err), LLMOS_EDENIED);
    CHECK_CONTAINS(err.text, "mdwe (this kernel cannot)");
}

TEST(default_rule_wants_seccomp_and_either_namespaces_or_landlock)
{
    struct spec s = {.require_default = true};
    struct vce_layer_state layers[VCE_LAYER_COUNT];

    all_hold(layers);
    layers[VCE_LANDLOCK].holds = false;
    CHECK_INT(spec_check_required(&s, layers, &err), 0);
    layers[VCE_NET].holds = false;
    CHECK_INT(spec_check_required(&s, layers, &err), LLMOS_EDENIED);
    CHECK_CONTAINS(err.text, "net (fine), landlock (fine)");
    layers[VCE_LANDLOCK].holds = true;
    layers[VCE_USER].holds = layers[VCE_MOUNT].holds = false;
    CHECK_INT(spec_check_required(&s, layers, &err), 0);
    layers[VCE_SECCOMP].holds = false;
    CHECK_INT(spec_check_required(&s, layers, &err), LLMOS_EDENIED);
    CHECK_CONTAINS(err.text, "seccomp");
    s.require_default = false;
    CHECK_INT(spec_check_required(&s, layers, &err), 0);
}

TEST(layers_are_found_by_name)
{
    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        CHECK_INT(vce_layer_by_name(vce_layer_name(i)), i);
    CHECK_INT(vce_layer_by_name("usr"), -1);
}
