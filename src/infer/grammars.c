/* SPDX-License-Identifier: Apache-2.0 */
/* grammars.c - see grammars.h */
#include "infer/grammars.h"

#include "base/mem.h"
#include "llmos/session.h"

struct grammars_entry {
    struct grammars_entry *next;
    struct matcher *matcher;
    uint64_t domain;
    struct str text; /* its own */
};

void grammars_init(struct grammars *g, const llmos_tokenizer *tokenizer)
{
    *g = (struct grammars){.tokenizer = tokenizer};
}

static void entry_destroy(struct grammars_entry *e)
{
    if (!e)
        return;
    matcher_destroy(e->matcher);
    mem_free((char *)(uintptr_t)e->text.at);
    mem_free(e);
}

static void drop_behind(struct grammars_entry **at)
{
    while (*at) {
        struct grammars_entry *e = *at;

        *at = e->next;
        entry_destroy(e);
    }
}

void grammars_fini(struct grammars *g)
{
    drop_behind(&g->idle);
    tokentrie_destroy(g->trie);
    g->trie = NULL;
}

static struct grammars_entry *take_idle(struct grammars *g, struct str text, uint64_t domain)
{
    for (struct grammars_entry **at = &g->idle; *at; at = &(*at)->next) {
        struct grammars_entry *e = *at;

        if (e->domain == domain && str_eq(e->text, text)) {
            *at = e->next;
            return e;
        }
    }
    return NULL;
}

static int entry_create(struct grammars_entry **entry, struct grammars *g, struct str text,
                        uint64_t domain, struct llmos_error *err)
{
    struct grammars_entry *e;
    struct grammar *grammar;
    int rc = g->trie ? 0 : tokentrie_create(&g->trie, g->tokenizer, err);

    if (rc == 0)
        rc = grammar_compile(&grammar, text, err);
    if (rc < 0)
        return rc;
    e = mem_zalloc(1, sizeof(*e));
    if (!e) {
        grammar_destroy(grammar);
        return fail(err, LLMOS_ENOMEM, "no memory for a grammar");
    }
    e->domain = domain;
    rc = matcher_create(&e->matcher, grammar, g->trie, err);
    if (rc == 0) {
        e->text = (struct str){mem_strndup(text.at, text.len), text.len};
        if (!e->text.at)
            rc = fail(err, LLMOS_ENOMEM, "no memory for a grammar");
    }
    if (rc < 0)
        entry_destroy(e);
    else
        *entry = e;
    return rc;
}

int grammars_take(struct grammars *g, struct str text, uint64_t domain, struct matcher **matcher,
                  struct grammars_entry **entry, struct llmos_error *err)
{
    struct grammars_entry *e = take_idle(g, text, domain);
    int rc = e ? 0 : entry_create(&e, g, text, domain, err);

    if (rc < 0)
        return rc;
    *entry = e;
    *matcher = e->matcher;
    return 0;
}

void grammars_give(struct grammars *g, struct grammars_entry *entry)
{
    struct grammars_entry **at = &g->idle;
    size_t bytes = 0, count = 0;

    if (entry->domain == LLMOS_DOMAIN_PRIVATE) {
        entry_destroy(entry);
        return;
    }
    entry->next = g->idle;
    g->idle = entry;
    for (; *at; at = &(*at)->next) {
        bytes += matcher_bytes((*at)->matcher) + (*at)->text.len;
        if (++count > GRAMMARS_IDLE_MAX || bytes > GRAMMARS_IDLE_BYTES_MAX)
            break;
    }
    drop_behind(at);
}
