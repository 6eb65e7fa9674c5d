/* SPDX-License-Identifier: Apache-2.0 */
/* config_test.c - claims about config.h */
#include "daemon/config.h"

#include "base/file.h"
#include "base/mem.h"
#include "test.h"

static struct config c;
static struct llmos_error err;

static int load(const char *yaml)
{
    config_fini(&c);
    config_init(&c);
    err = (struct llmos_error){0};
    return config_load(&c, str_of(yaml), "/etc/llmos.yaml", &err);
}

/* The sentence that this file is refused with. */
static const char *refusal(const char *yaml)
{
    return load(yaml) < 0 ? err.text : "accepted";
}

TEST(config_reads_every_key)
{
    CHECK_INT(
        load("listen: {address: '::1', port: 81}\nsocket: /s\ncache: /c\ncache_max_bytes: 3G\n"
             "cache_shared: true\nhosts: [a, b]\nlog: debug\n"
             "models:\n- {name: m, path: m.gguf, context: 7, sessions: 2, threads: 3,\n"
             "   memory: 2G, cpu_percent: 150, chat_format: chatml, kv_type: q8_0, pack: off,\n"
             "   speculation: lookup, draft: d.gguf, draft_max: 5}\n- {name: n, path: /abs, "
             "draft_max: 5, encoder: true}\n"
             "isolation: {required: [seccomp, default], skip: [limits]}\n"
             "limits: {body: 1M, queue: 3, connections: 4, receive_seconds: 5, idle_seconds: 6,\n"
             "  drain_seconds: 7, stall_seconds: 8, start_seconds: 9}\n"),
        0);
    CHECK_STR(c.address, "::1");
    CHECK_INT(c.port, 81);
    CHECK_STR(c.socket, "/s");
    CHECK_INT(c.host_count, 2);
    CHECK_STR(c.hosts[1], "b");
    CHECK_INT(c.log, LOG_DEBUG_LEVEL);
    CHECK_INT(c.model_count, 2);
    CHECK_STR(c.models[0].model_path, "/etc/m.gguf");
    CHECK_STR(c.models[1].model_path, "/abs");
    CHECK_INT(c.models[0].setup.context_tokens, 7);
    CHECK_INT(c.models[0].setup.sessions_max, 2);
    CHECK_INT(c.models[0].setup.threads, 3);
    CHECK_INT(c.models[0].memory_max_bytes, 2ll << 30);
    CHECK_INT(c.models[0].cpu_percent, 150);
    CHECK(str_is(c.models[0].setup.chat_format, "chatml"));
    CHECK(c.runs_plain[0] && !c.runs_plain[1]);
    CHECK_STR(c.cache, "/c");
    CHECK_INT(c.cache_max_bytes, 3ll << 30);
    CHECK(c.cache_shared);
    CHECK(c.models[0].setup.draft_lookup && !c.models[1].setup.draft_lookup);
    CHECK_INT(c.models[0].setup.draft_max, 5);
    CHECK_STR(c.models[0].draft_path, "/etc/d.gguf");
    CHECK_INT(c.models[1].setup.draft_max, 0); /* nothing to draft from */
    CHECK_INT(c.models[0].setup.purpose, PURPOSE_RUN);
    CHECK_INT(c.models[1].setup.purpose, PURPOSE_ENCODE);
    CHECK(str_is(c.models[0].setup.kv_type, "q8_0"));
    CHECK_INT(c.models[1].setup.kv_type.len, 0);
    CHECK_INT(c.required, VCE_BIT(VCE_SECCOMP));
    CHECK(c.require_default);
    CHECK_INT(c.skip, VCE_BIT(VCE_LIMITS));
    CHECK_INT(c.body_bytes, 1 << 20);
    CHECK_INT(c.queue, 3);
    CHECK_INT(c.drain_seconds, 7);
    CHECK_INT(c.start_seconds, 9);
}

TEST(config_keeps_defaults_for_what_is_absent)
{
    CHECK_INT(load(""), 0);
    CHECK_INT(load("# nothing\n"), 0);
    CHECK_INT(load("---\n"), 0);
    CHECK_INT(load("log: warn\n"), 0);
    CHECK_STR(c.address, "127.0.0.1");
    CHECK_INT(c.port, 5000);
    CHECK(!c.cache && c.cache_max_bytes == 0 && !c.cache_shared);
    CHECK(c.require_default && c.required == 0 && c.skip == 0);
    CHECK_INT(load("isolation: {required: [none]}"), 0);
    CHECK(!c.require_default);
}

TEST(config_says_where_and_what_is_wrong)
{
    CHECK_STR(refusal("log: info\nmodles: []\n"),
              "/etc/llmos.yaml line 2 column 1: unknown key 'modles' in the file; did you mean "
              "'models'?");
    CHECK_STR(refusal("models:\n  - name: a\n    path: b\n    contxt: 5\n"),
              "/etc/llmos.yaml line 4 column 5: unknown key 'contxt' in models; did you mean "
              "'context'?");
    CHECK_STR(refusal("listen:\n  port: many\n"),
              "/etc/llmos.yaml line 2 column 9: 'port' is a whole number, not 'many'");
    CHECK_CONTAINS(refusal("models: [{name: a, path: b, kv_type: q4}]"),
                   "'q4' is no type for a cache; f16 and q8_0 are");
    CHECK_CONTAINS(refusal("listen: {port: 65536}"),
                   "column 16: 'port' is 65536, it must be 0 to 65535");
    CHECK_CONTAINS(refusal("listen: {port: -1}"), "is a whole number, not '-1'");
    CHECK_CONTAINS(refusal("listen: {port: 0x10}"), "not '0x10'");
    CHECK_CONTAINS(refusal("listen: {port: 99999999999999999999999}"), "it must be");
    CHECK_CONTAINS(refusal("listen: 5000"), "'listen' has keys with values");
    CHECK_CONTAINS(refusal("log: [info]"), "'log' has a text, not a list");
    CHECK_CONTAINS(refusal("log: loud"), "no log level");
    CHECK_CONTAINS(refusal("log: ''"), "'log' is empty");
    CHECK_CONTAINS(refusal("log:"), "'log' is empty");
    CHECK_CONTAINS(refusal("models:"), "'models' has a list");
    CHECK_CONTAINS(refusal("log: info\nlog: warn"), "line 2 column 1: 'log' is given twice");
    CHECK_CONTAINS(refusal("isolation: {skip: [secomp]}"), "did you mean 'seccomp'?");
    CHECK_CONTAINS(refusal("limits: {body: 1}"), "must be 1K to 8M");
    CHECK_CONTAINS(refusal("limits: {body: much}"), "'body'");
    CHECK_CONTAINS(refusal("models: [{name: 'a b', path: x}]"), "no name for a model");
    CHECK_CONTAINS(refusal("models: [{name: a}]"), "model 1 has no path");
    CHECK_CONTAINS(refusal("models: [{name: a, path: b}, {name: a, path: c}]"), "two models");
    CHECK_CONTAINS(refusal("[1, 2"), "line 1");
    CHECK_CONTAINS(refusal("- a"), "'the file' has keys with values, not a list");
    CHECK_CONTAINS(refusal("? [a]\n: b"), "a key is a plain word");
    CHECK_CONTAINS(refusal("log: info\n---\nlog: warn"), "only one document");
    CHECK_CONTAINS(refusal("log: \"a\\0b\""), "zero byte");
    CHECK_CONTAINS(refusal("cache: here"), "'cache' is a folder's whole path");
    CHECK_CONTAINS(refusal("cache_max_bytes: all"), "'cache_max_bytes'");
    CHECK_CONTAINS(refusal("cache_shared: yes"),
                   "'cache_shared' is 'yes', it must be true or false");
    CHECK_CONTAINS(refusal("models: [{name: a, path: b, pack: on}]"),
                   "'pack' is 'on', it must be auto or off");
    CHECK_CONTAINS(refusal("log: \xff"), "not valid UTF-8");
}

TEST(config_lets_nothing_multiply)
{
    char *large = malloc(CONFIG_BYTES_MAX + 2);
    char deep[4000];

    CHECK_CONTAINS(refusal("hosts: &a [x]\n"), "line 1 column 8: anchors and aliases");
    CHECK_CONTAINS(refusal("hosts: *a\n"), "anchors and aliases");
    CHECK_CONTAINS(refusal("log: &a info\n"), "anchors and aliases");
    memset(large, '#', CONFIG_BYTES_MAX + 1);
    large[CONFIG_BYTES_MAX + 1] = '\0';
    CHECK_CONTAINS(refusal(large), "at most 262144 are accepted");
    free(large);
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    CHECK_CONTAINS(refusal(deep), "not a list");
    CHECK_CONTAINS(refusal("hosts: [a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a]"), "more than 16 entries");
}

TEST(config_takes_models_from_flags_over_the_file)
{
    CHECK_INT(load("models: [{name: a, path: old, threads: 5}]"), 0);
    CHECK_INT(config_add_model(&c, "a=new.gguf", &err), 0);
    CHECK_INT(config_add_model(&c, "dir/story.gguf", &err), 0);
    CHECK_INT(c.model_count, 2);
    CHECK_STR(c.models[0].model_path, "new.gguf");
    CHECK_INT(c.models[0].setup.threads, 5);
    CHECK_STR(c.models[1].name, "story");
    CHECK_STR(c.models[1].model_path, "dir/story.gguf");
    CHECK_INT(config_add_encoder(&c, "small=e.gguf", &err), 0);
    CHECK_INT(c.models[2].setup.purpose, PURPOSE_ENCODE);
    CHECK_INT(c.models[1].setup.purpose, PURPOSE_RUN);
    CHECK_INT(config_add_encoder(&c, "a=e.gguf", &err), 0); /* the file's becomes one */
    CHECK_INT(c.models[0].setup.purpose, PURPOSE_ENCODE);
    CHECK_INT(config_add_model(&c, "a=new.gguf", &err), 0);
    CHECK_INT(config_add_model(&c, "b=", &err), LLMOS_EINVAL);
    CHECK_INT(config_add_model(&c, "=x", &err), LLMOS_EINVAL);
    CHECK_INT(config_check(&c, &err), LLMOS_ENOTFOUND);
    CHECK_CONTAINS(err.text, "model 'a': cannot open 'new.gguf'");
}

TEST(config_example_is_right)
{
    char path[4096];
    const char *source = getenv("LLMOS_SOURCE");

    if (!source)
        SKIP("LLMOS_SOURCE does not say where the example is");
    snprintf(path, sizeof(path), "%s/packaging/llmos.yaml", source);
    config_fini(&c);
    config_init(&c);
    CHECK_INT(config_load_file(&c, path, &err), 0);
    CHECK_INT(c.model_count, 1);
}

TEST(config_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        int rc = load("hosts: [a]\ncache: /c\nmodels: [{name: a, path: b, pack: off}]\n"
                      "limits: {queue: 3}\n");

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
    }
    config_fini(&c);
}
