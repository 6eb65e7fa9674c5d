/* SPDX-License-Identifier: Apache-2.0 */
/* conversation.c - see conversation.h */
#include "daemon/conversation.h"

#include "base/jsontext.h"
#include "base/mem.h"

#include <stdio.h>

/* What was called is told to the template as it is, and not as text. */
static bool has_native_calls(const struct tools *t)
{
    return t->is_native && !t->format->forgets;
}

struct taking {
    struct buf *out;
    struct json_fault *fault;
    char prefix[80];  /* of the names of fields: "messages[3]." */
    bool is_first;    /* nothing stands in the object yet */
    bool has_thought; /* of the message */
    const struct tools *tools;
    /* How the message that comes next tells of the tools. */
    enum { NOT_AT_ALL, IN_WORDS, AS_MEMBER } telling;
    size_t count;        /* messages written */
    struct buf returned; /* by functions, for a template that does not know them */
};

static int refuse(struct taking *t, const char *key, const char *why)
{
    return json_fault(t->fault, LLMOS_EINVAL, t->prefix, key, "'%s%s' %s", t->prefix, key, why);
}

static struct str text_of(const json_t *v)
{
    return (struct str){json_string_value(v), json_string_length(v)};
}

static bool is_word(const json_t *v, const char *word)
{
    return json_is_string(v) && str_is(text_of(v), word);
}

/* Templates ask whether something is there: what says nothing is not. */
static bool is_nothing(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           ((json_is_array(v) || json_is_object(v)) && json_array_size(v) == 0 &&
            json_object_size(v) == 0);
}

static void put_key(struct taking *t, const char *key)
{
    buf_puts(t->out, t->is_first ? "" : ", ");
    json_put_string(t->out, str_of(key));
    buf_puts(t->out, ": ");
    t->is_first = false;
}

/* --- content --- */

/* What the parts say; any other part than text changes the answer and is refused. */
static int join_parts(struct taking *t, const json_t *parts, struct buf *text)
{
    const json_t *part;
    size_t i;

    json_array_foreach(parts, i, part)
    {
        const json_t *said = json_object_get(part, "text");

        if (!is_word(json_object_get(part, "type"), "text") || !json_is_string(said) ||
            json_object_size(part) != 2)
            return json_fault(t->fault, LLMOS_EUNSUPPORTED, t->prefix, "content",
                              "'%scontent' has a part that is not plain text", t->prefix);
        buf_put(text, json_string_value(said), json_string_length(said));
    }
    return 0;
}

/* may_lack: an assistant that called something need not have said anything. */
static int read_content(struct taking *t, const json_t *m, bool may_lack, struct buf *text)
{
    const json_t *content = json_object_get(m, "content");

    if (json_is_string(content))
        buf_put(text, json_string_value(content), json_string_length(content));
    else if (json_is_array(content) && json_array_size(content) > 0)
        return join_parts(t, content, text);
    else if ((content && !json_is_null(content)) || !may_lack)
        return refuse(t, "content", "must be a string or an array of text parts");
    return 0;
}

/* --- calls --- */

static int only_fields(struct taking *t, const json_t *object, const char *const *names)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;

        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (!names[i] && !is_nothing(value))
            return json_fault(t->fault, LLMOS_EUNSUPPORTED, t->prefix, key,
                              "'%s%s' is not supported", t->prefix, key);
    }
    return 0;
}

/* An object, or the text of one as the dialect has it; an empty text is an empty object. */
static int put_arguments(struct taking *t, const json_t *v)
{
    static const struct json_limits limits = JSON_LIMITS_INIT;
    struct llmos_error err = {0};
    json_t *parsed = NULL;
    int rc;

    put_key(t, "arguments");
    if (is_nothing(v)) {
        buf_puts(t->out, "{}");
        return 0;
    }
    if (json_is_object(v)) {
        json_put(t->out, v);
        return 0;
    }
    if (!json_is_string(v))
        return refuse(t, "arguments", "must be JSON as a string");
    rc = json_parse(&parsed, text_of(v), &limits, &err);
    if (rc < 0)
        return json_fault(t->fault, rc, t->prefix, "arguments", "'%sarguments' must be JSON: %s",
                          t->prefix, err.text);
    rc = json_is_object(parsed) ? 0 : refuse(t, "arguments", "must be a JSON object");
    json_put(t->out, parsed);
    json_decref(parsed);
    return rc;
}

static int take_function(struct taking *t, const json_t *f)
{
    static const char *const names[] = {"name", "arguments", NULL};
    struct str name;
    int rc = only_fields(t, f, names);

    if (rc == 0)
        rc = json_take_string(f, t->prefix, "name", 256, &name, t->fault);
    if (rc == 0)
        rc = refuse(t, "name", "is missing");
    if (rc < 0)
        return rc;
    buf_putc(t->out, '{');
    t->is_first = true;
    put_key(t, "name");
    json_put_string(t->out, name);
    rc = put_arguments(t, json_object_get(f, "arguments"));
    buf_putc(t->out, '}');
    return rc;
}

static int take_call(struct taking *t, const json_t *call)
{
    static const char *const names[] = {"id", "type", "function", "index", NULL};
    const json_t *type = json_object_get(call, "type"), *f = json_object_get(call, "function");
    struct str id = STR("");
    int rc;

    if (!json_is_object(call) || !json_is_object(f) || (type && !is_word(type, "function")))
        return refuse(t, "function", "is missing: a call is of type 'function' and has one");
    rc = only_fields(t, call, names);
    if (rc == 0)
        rc = json_take_string(call, t->prefix, "id", 256, &id, t->fault);
    if (rc < 0)
        return rc;
    if (has_native_calls(t->tools)) {
        buf_putc(t->out, '{');
        t->is_first = true;
        put_key(t, "type");
        json_put_string(t->out, STR("function"));
        if (id.len) {
            put_key(t, "id");
            json_put_string(t->out, id);
        }
        put_key(t, "function");
    }
    snprintf(t->prefix + strlen(t->prefix), sizeof(t->prefix) - strlen(t->prefix), "function.");
    rc = take_function(t, f);
    buf_puts(t->out, has_native_calls(t->tools) ? "}" : "");
    return rc;
}

static void put_before_call(struct taking *t, size_t i)
{
    const struct callform *f = t->tools->format;

    if (has_native_calls(t->tools))
        buf_puts(t->out, i ? ", " : "");
    else if (f->is_array)
        buf_printf(t->out, "%s%s", i ? f->between : f->opening, i ? "" : "[");
    else
        buf_printf(t->out, "%s%s\n", t->out->len ? "\n" : "", f->opening);
}

/* A template that knows no calls sees them as text, as the model was asked to write them. */
static int take_calls(struct taking *t, const json_t *calls)
{
    const struct callform *f = t->tools->format;
    bool is_native = has_native_calls(t->tools);
    size_t used = strlen(t->prefix), i;
    const json_t *call;
    int rc = 0;

    if (!json_is_array(calls) || json_array_size(calls) > CONVERSATION_CALLS_MAX)
        return refuse(t, "tool_calls", "must be an array of at most 128 calls");
    buf_puts(t->out, is_native ? "[" : "");
    json_array_foreach(calls, i, call)
    {
        snprintf(t->prefix + used, sizeof(t->prefix) - used, "tool_calls[%zu].", i);
        put_before_call(t, i);
        rc = take_call(t, call);
        if (!is_native && !f->is_array)
            buf_printf(t->out, "\n%s", f->closing);
        if (rc < 0)
            return rc;
    }
    t->prefix[used] = '\0';
    buf_puts(t->out, is_native || f->is_array ? "]" : "");
    buf_puts(t->out, !is_native && f->is_array ? f->closing : "");
    return 0;
}

/* --- messages --- */

enum { SYSTEM = 1, USER = 2, ASSISTANT = 4, TOOL = 8, ALL = 15 };

static const struct role {
    const char *name, *written;
    unsigned bit;
} roles[] = {
    {"system", "system", SYSTEM}, {"developer", "system", SYSTEM}, /* the newer word for the same
                                                                      thing */
    {"user", "user", USER},       {"assistant", "assistant", ASSISTANT}, {"tool", "tool", TOOL},
};

static int take_role(struct taking *t, const json_t *m, struct role *role)
{
    const json_t *v = json_object_get(m, "role");

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (is_word(v, roles[i].name)) {
            *role = roles[i];
            return 0;
        }
    return refuse(t, "role", "must be system, developer, user, assistant or tool");
}

/* What a message may have besides. */
static const struct field {
    const char *name;
    unsigned of; /* roles */
    enum {
        READ_ELSEWHERE,
        STRING,
        ANYTHING,
        THOUGHT
    } kind; /* passed on as they are, but thoughts */
} fields[] = {
    {"role", ALL, READ_ELSEWHERE},
    {"content", ALL, READ_ELSEWHERE},
    {"tool_calls", ASSISTANT, READ_ELSEWHERE},
    {"name", ALL, STRING},
    {"tool_call_id", TOOL, STRING},
    {"reasoning_content", ASSISTANT, THOUGHT},
    {"reasoning", ASSISTANT, THOUGHT},    /* newer clients call it so */
    {"annotations", ASSISTANT, ANYTHING}, /* clients send back what they got */
};

/* Under the names that templates know: gpt-oss has the second, Command the third. */
static int put_thought(struct taking *t, const json_t *text)
{
    static const char *const names[] = {"reasoning_content", "thinking", "tool_plan"};

    if (t->has_thought)
        return refuse(t, "reasoning", "comes twice: it is 'reasoning_content' by its other name");
    t->has_thought = true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        put_key(t, names[i]);
        json_put(t->out, text);
    }
    return 0;
}

static int take_field(struct taking *t, const char *key, const json_t *value, unsigned role)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!(fields[i].of & role) || strcmp(fields[i].name, key) != 0)
            continue;
        if (fields[i].kind == READ_ELSEWHERE)
            return 0;
        if (fields[i].kind != ANYTHING && !json_is_string(value))
            return refuse(t, key, "must be a string");
        if (fields[i].kind == THOUGHT)
            return put_thought(t, value);
        put_key(t, key);
        json_put(t->out, value);
        return 0;
    }
    return json_fault(t->fault, LLMOS_EUNSUPPORTED, t->prefix, key, "'%s%s' is not supported",
                      t->prefix, key);
}

static int take_fields(struct taking *t, const json_t *m, unsigned role)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)m, key, value)
    {
        int rc = is_nothing(value) ? 0 : take_field(t, key, value, role);

        if (rc < 0)
            return rc;
    }
    if (role == TOOL && is_nothing(json_object_get(m, "tool_call_id")))
        return refuse(t, "tool_call_id", "is missing: which call does this answer?");
    return 0;
}

/* What a message says, in words: its content, and what its template does not know otherwise. */
static int read_words(struct taking *t, const json_t *m, unsigned role, struct buf *text)
{
    const json_t *calls = json_object_get(m, "tool_calls");
    bool has_calls = role == ASSISTANT && !is_nothing(calls), is_native = t->tools->is_native;
    struct buf *out = t->out;
    int rc;

    if (t->telling == IN_WORDS && role == USER) {
        tools_describe(t->tools, text);
        buf_puts(text, "\n\n");
    }
    buf_puts(text, role == TOOL && !is_native ? "<tool_response>\n" : "");
    rc = read_content(t, m, has_calls, text);
    buf_puts(text, role == TOOL && !is_native ? "\n</tool_response>" : "");
    if (t->telling == IN_WORDS && role == SYSTEM) {
        buf_puts(text, "\n\n");
        tools_describe(t->tools, text);
    }
    t->telling = t->telling == IN_WORDS ? NOT_AT_ALL : t->telling;
    if (rc < 0 || !has_calls || has_native_calls(t->tools))
        return rc;
    t->out = text;
    rc = take_calls(t, calls);
    t->out = out;
    return rc;
}

static void put_message(struct taking *t, const char *role, struct str content, struct str rest)
{
    buf_puts(t->out, t->count++ ? ",\n{" : "\n{");
    t->is_first = true;
    put_key(t, "role");
    json_put_string(t->out, str_of(role));
    put_key(t, "content");
    json_put_string(t->out, content);
    buf_put(t->out, rest.at, rest.len);
    buf_putc(t->out, '}');
}

/* The functions as a member of the message, as text. */
static void put_tools_member(struct taking *t)
{
    CLEANUP(buf) struct buf text = {.limit_bytes = t->out->limit_bytes};

    tools_list(t->tools, &text);
    put_key(t, "tools");
    json_put_string(t->out, buf_str(&text));
    t->out->bad |= text.bad;
    t->telling = NOT_AT_ALL;
}

/* A system message where none comes that could tell of the tools. */
static void tell_before(struct taking *t, unsigned role)
{
    CLEANUP(buf) struct buf text = {.limit_bytes = t->out->limit_bytes};
    CLEANUP(buf) struct buf rest = {.limit_bytes = t->out->limit_bytes};
    struct buf *out = t->out;

    if (t->telling == NOT_AT_ALL || role == SYSTEM || (t->telling == IN_WORDS && role == USER))
        return;
    if (t->telling == IN_WORDS) {
        tools_describe(t->tools, &text);
    } else {
        buf_puts(&text, "You are a helpful assistant with some tools.");
        t->out = &rest;
        t->is_first = false;
        put_tools_member(t);
        t->out = out;
    }
    put_message(t, "system", buf_str(&text), buf_str(&rest));
    t->telling = NOT_AT_ALL;
    t->out->bad |= text.bad || rest.bad;
}

/* Everything but role and content, each with a comma in front. */
static int read_rest(struct taking *t, const json_t *m, unsigned role, struct buf *rest)
{
    const json_t *calls = json_object_get(m, "tool_calls");
    struct buf *out = t->out;
    int rc;

    t->out = rest;
    t->is_first = t->has_thought = false;
    rc = take_fields(t, m, role);
    if (role == SYSTEM && t->telling == AS_MEMBER)
        put_tools_member(t);
    if (rc == 0 && has_native_calls(t->tools) && role == ASSISTANT && !is_nothing(calls)) {
        put_key(t, "tool_calls");
        rc = take_calls(t, calls);
    }
    t->out = out;
    return rc < 0 ? rc : buf_check(rest, "a message", &t->fault->err);
}

/* What functions returned one after another is one message of the user: templates want turns. */
static void put_returned(struct taking *t, const struct buf *text, const json_t *next)
{
    buf_puts(&t->returned, t->returned.len ? "\n" : "");
    buf_put(&t->returned, buf_str(text).at, text->len);
    t->out->bad |= t->returned.bad;
    if (is_word(json_object_get(next, "role"), "tool"))
        return;
    put_message(t, "user", buf_str(&t->returned), STR(""));
    buf_clear(&t->returned);
}

static int take_message(struct taking *t, const json_t *m, const json_t *next)
{
    CLEANUP(buf) struct buf text = {.limit_bytes = t->out->limit_bytes};
    CLEANUP(buf) struct buf rest = {.limit_bytes = t->out->limit_bytes};
    struct role role = roles[0];
    int rc = take_role(t, m, &role);

    if (rc < 0)
        return rc;
    tell_before(t, role.bit);
    rc = read_words(t, m, role.bit, &text);
    if (rc == 0)
        rc = buf_check(&text, "a message", &t->fault->err);
    if (rc == 0)
        rc = read_rest(t, m, role.bit, &rest);
    if (rc < 0)
        return rc;
    if (role.bit == TOOL && !t->tools->is_native)
        put_returned(t, &text, next);
    else
        put_message(t, role.written, buf_str(&text), buf_str(&rest));
    return 0;
}

static int take_messages(struct taking *t, const json_t *list)
{
    const json_t *m;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) == 0)
        return refuse(t, "messages", "must be an array with at least one message");
    if (json_array_size(list) > CONVERSATION_MESSAGES_MAX)
        return json_fault(t->fault, LLMOS_ELIMIT, "", "messages",
                          "%zu messages, at most %d are accepted", json_array_size(list),
                          CONVERSATION_MESSAGES_MAX);
    buf_puts(t->out, "\"messages\": [");
    json_array_foreach(list, i, m)
    {
        int rc;

        if (!json_is_object(m))
            return json_fault(t->fault, LLMOS_EINVAL, "", "messages",
                              "'messages[%zu]' must be an object, not %s", i, json_kind(m));
        snprintf(t->prefix, sizeof(t->prefix), "messages[%zu].", i);
        rc = take_message(t, m, json_array_get(list, i + 1));
        if (rc < 0)
            return rc;
    }
    t->prefix[0] = '\0';
    t->is_first = false;
    buf_putc(t->out, ']');
    return 0;
}

/* --- what else a template sees --- */

static int put_variable(struct taking *t, const json_t *chosen, const char *key, json_t *value)
{
    if (!value)
        return LLMOS_ENOMEM;
    if (!json_object_get(chosen, key)) { /* what is said closer to the template counts */
        put_key(t, key);
        json_put(t->out, value);
    }
    json_decref(value);
    return 0;
}

/* How much the model is to think, under the names that templates know. */
static int take_effort(struct taking *t, const json_t *request, const json_t *chosen)
{
    static const char *const words[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
    const json_t *effort = json_object_get(request, "reasoning_effort");
    bool thinks = true, is_known = false;
    int rc = json_take_bool(request, "", "enable_thinking", &thinks, t->fault);

    if (rc < 0)
        return rc;
    if (effort && !json_is_null(effort)) {
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
            is_known |= is_word(effort, words[i]);
        if (!is_known)
            return refuse(t, "reasoning_effort",
                          "must be none, minimal, low, medium, high, xhigh or max");
    }
    if (rc == 0 && is_word(effort, "none")) {
        thinks = false;
        rc = 1;
    }
    if (rc == 1)
        rc = put_variable(t, chosen, "enable_thinking", json_boolean(thinks));
    if (rc == 0 && is_known)
        rc = put_variable(t, chosen, "reasoning_effort", json_incref((json_t *)(uintptr_t)effort));
    return rc < 0 ? json_fault(t->fault, rc, "", "", "no memory for the request") : 0;
}

static int take_variables(struct taking *t, const json_t *v)
{
    static const char *const ours[] = {"messages", "tools", "bos_token", "eos_token", "unk_token"};
    const char *key;
    json_t *value;

    if (!v || json_is_null(v))
        return 0;
    if (!json_is_object(v))
        return refuse(t, "chat_template_kwargs", "must be an object");
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
            if (strcmp(ours[i], key) == 0)
                return json_fault(t->fault, LLMOS_EINVAL, "chat_template_kwargs.", key,
                                  "'chat_template_kwargs' cannot change '%s'", key);
        put_key(t, key);
        json_put(t->out, value);
    }
    return 0;
}

int conversation_take(const json_t *request, const struct tools *tools, struct buf *out,
                      struct json_fault *fault)
{
    static const int tellings[] = {[CALLFORM_BY_TEMPLATE] = NOT_AT_ALL,
                                   [CALLFORM_BY_SYSTEM] = AS_MEMBER,
                                   [CALLFORM_BY_WORDS] = IN_WORDS};
    struct taking t = {.out = out,
                       .fault = fault,
                       .returned = {.limit_bytes = out->limit_bytes},
                       .tools = tools,
                       .telling =
                           tools->choice == TOOLS_NONE ? NOT_AT_ALL : tellings[tools->telling]};
    int rc;

    buf_putc(out, '{');
    rc = take_messages(&t, json_object_get(request, "messages"));
    if (tools->choice != TOOLS_NONE && tools->telling == CALLFORM_BY_TEMPLATE) {
        put_key(&t, "tools");
        json_put(out, tools->list);
    }
    if (rc == 0)
        rc = take_variables(&t, json_object_get(request, "chat_template_kwargs"));
    if (rc == 0)
        rc = take_effort(&t, request, json_object_get(request, "chat_template_kwargs"));
    buf_putc(out, '}');
    buf_fini(&t.returned);
    if (rc == 0 && buf_check(out, "the conversation", &fault->err) < 0)
        return fault->err.code;
    return rc;
}
