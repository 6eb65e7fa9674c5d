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

static size_t entry_bytes(const struct grammars_entry *e)
{
    return matcher_bytes(e->matcher) + sizeof(*e) + e->text.len;
}

static size_t list_bytes(const struct grammars_entry *e)
{
    size_t bytes = 0;

    for (; e; e = e->next)
        bytes += entry_bytes(e);
    return bytes;
}

size_t grammars_bytes(const struct grammars *g)
{
    return tokentrie_bytes(g->trie) + list_bytes(g->idle) + list_bytes(g->busy);
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
    drop_behind(&g->busy);
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

/* Those that wait may have so many bytes: what the tree and those in use leave. */
static size_t idle_bytes_max(const struct grammars *g)
{
    size_t used = tokentrie_bytes(g->trie) + list_bytes(g->busy);
    size_t left = !g->bytes_max ? SIZE_MAX : g->bytes_max > used ? g->bytes_max - used : 0;

    return left < GRAMMARS_IDLE_BYTES_MAX ? left : GRAMMARS_IDLE_BYTES_MAX;
}

static void drop_idle(struct grammars *g)
{
    struct grammars_entry **at = &g->idle;
    size_t bytes = 0, count = 0, most = idle_bytes_max(g);

    for (; *at; at = &(*at)->next) {
        bytes += entry_bytes(*at);
        if (++count > GRAMMARS_IDLE_MAX || bytes > most)
            break;
    }
    drop_behind(at);
}

static int check_room(struct grammars *g, struct llmos_error *err)
{
    size_t bytes;

    drop_idle(g);
    bytes = grammars_bytes(g);
    if (!g->bytes_max || bytes <= g->bytes_max)
        return 0;
    return fail(
        err, LLMOS_ENOMEM,
        "the grammar and those in use need %zu MiB, the context leaves %zu MiB of its memory; "
        "try more memory, a smaller context or fewer sequences",
        (bytes >> 20) + 1, g->bytes_max >> 20);
}

int grammars_take(struct grammars *g, struct str text, uint64_t domain, struct matcher **matcher,
                  struct grammars_entry **entry, struct llmos_error *err)
{
    struct grammars_entry *e = take_idle(g, text, domain);
    int rc = e ? 0 : entry_create(&e, g, text, domain, err);

    if (rc < 0)
        return rc;
    e->next = g->busy;
    g->busy = e;
    rc = check_room(g, err);
    if (rc < 0) {
        g->busy = e->next;
        entry_destroy(e);
        return rc;
    }
    if (g->bytes_max)
        matcher_remember(e->matcher, (g->bytes_max - grammars_bytes(g)) / 2);
    *entry = e;
    *matcher = e->matcher;
    return 0;
}

void grammars_give(struct grammars *g, struct grammars_entry *entry)
{
    struct grammars_entry **at = &g->busy;

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    if (entry->domain == LLMOS_DOMAIN_PRIVATE) {
        entry_destroy(entry);
        return;
    }
    entry->next = g->idle;
    g->idle = entry;
    drop_idle(g);
}
