/* SPDX-License-Identifier: Apache-2.0 */
/* callshape.c - see callshape.h */
#include "model/callshape.h"

#include "model/jinja_json.h"

/* Ids have nine letters, since templates of Mistral take no other. */
static const char conversation[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"Q\"}, {\"role\": \"assistant\", "
    "\"content\": \"\", \"tool_calls\": [{\"type\": \"function\", \"id\": \"abcdefghi\", "
    "\"function\": {\"name\": \"find_it\", \"arguments\": {\"needle\": \"hay\"}}}]}, {\"role\": "
    "\"tool\", \"tool_call_id\": \"abcdefghi\", \"content\": \"R\"}, {\"role\": \"assistant\", "
    "\"content\": \"A\"}, {\"role\": \"user\", \"content\": \"Q\"}], \"tools\": [], "
    "\"bos_token\": \"\", \"eos_token\": \"\", \"unk_token\": \"\", \"add_generation_prompt\": "
    "true}";

static struct jinja_value *member(struct jinja_store *s, struct jinja_value v, const char *name)
{
    return v.kind == JINJA_DICT ? jinja_get_name(s, v, str_of(name)) : NULL;
}

static struct jinja_list *list_in(struct jinja_store *s, struct jinja_value v, const char *name)
{
    struct jinja_value *list = member(s, v, name);

    return list && list->kind == JINJA_LIST ? list->list : NULL;
}

static struct jinja_value json_of(struct jinja_store *s, struct jinja_value v)
{
    const struct jinja_json_style style = {.item_separator = JINJA_STR(", "),
                                           .key_separator = JINJA_STR(": ")};
    struct jinja_build b;

    jinja_build_init(&b, s);
    jinja_put_json(&b, v, &style);
    return jinja_built(&b);
}

static void apply_to(struct jinja_store *s, const struct callshape *shape, struct jinja_value m)
{
    struct jinja_value *content = member(s, m, "content");
    struct jinja_list *calls = list_in(s, m, "tool_calls");

    if (!calls || calls->count == 0)
        return;
    if (shape->is_none_said && content && content->kind == JINJA_STRING && content->s->len == 0)
        *content = JINJA_NIL;
    for (size_t i = 0; shape->is_text && i < calls->count; i++) {
        struct jinja_value *f = member(s, calls->at[i], "function");
        struct jinja_value *arguments = f ? member(s, *f, "arguments") : NULL;

        if (arguments && arguments->kind == JINJA_DICT)
            *arguments = json_of(s, *arguments);
    }
}

void callshape_apply(struct jinja_store *s, const struct callshape *shape,
                     struct jinja_value variables)
{
    struct jinja_list *messages = s->rc == 0 ? list_in(s, variables, "messages") : NULL;

    for (size_t i = 0; messages && i < messages->count && s->rc == 0; i++)
        apply_to(s, shape, messages->at[i]);
}

static bool has(struct jinja_str text, const char *part)
{
    return memmem(text.at, text.len, part, strlen(part)) != NULL;
}

/* 1: the call is seen, whole and nothing else; 0: it is not. */
static int try(const struct callshape *shape, const struct jinja_template *t)
{
    static const struct jinja_limits limits = {(size_t)16 << 20, (size_t)1 << 20, 1000000, 400};
    struct llmos_error err = {0};
    struct jinja_value variables;
    struct jinja_str text;
    struct jinja_store s;
    int rc;

    jinja_store_init(&s, &limits, &err);
    variables = jinja_read_json(&s, STR(conversation));
    callshape_apply(&s, shape, variables);
    rc = s.rc < 0 ? s.rc : jinja_render(t, &s, variables, &text);
    if (rc == 0)
        rc = has(text, "find_it") && has(text, "needle") && has(text, "hay") &&
             !(shape->is_none_said && has(text, "None"));
    jinja_store_fini(&s);
    return rc;
}

int callshape_find(struct callshape *shape, const struct jinja_template *t)
{
    static const struct callshape shapes[] = {
        {false, false}, {false, true}, {true, false}, {true, true}};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        int rc = try(&shapes[i], t);

        *shape = shapes[i];
        if (rc > 0 || rc == LLMOS_ENOMEM)
            return rc < 0 ? rc : 0;
    }
    *shape = shapes[0];
    return 0;
}
