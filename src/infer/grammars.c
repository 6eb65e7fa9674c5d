/* SPDX-License-Identifier: Apache-2.0 */
/* grammars.c - see grammars.h */
#include "infer/grammars.h"

#include "base/buf.h"
#include "base/mem.h"
#include "model/vocab.h"

#define KEY_MAX (GRAMMAR_TEXT_MAX + (1u << 16))

struct grammars_entry {
    struct grammars_entry *next;
    struct matcher *matcher;
    uint64_t domain;
    struct buf key; /* the names of the marks, each with its end, nothing, and the text */
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
    buf_fini(&e->key);
    mem_free(e);
}

static size_t entry_bytes(const struct grammars_entry *e)
{
    return matcher_bytes(e->matcher) + sizeof(*e) + e->key.len;
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

static struct grammars_entry *take_idle(struct grammars *g, struct str key, uint64_t domain)
{
    for (struct grammars_entry **at = &g->idle; *at; at = &(*at)->next) {
        struct grammars_entry *e = *at;

        if (e->domain == domain && str_eq(buf_str(&e->key), key)) {
            *at = e->next;
            return e;
        }
    }
    return NULL;
}

/* Names that are none of the vocabulary's control tokens are text anyway. */
static void set_marks(const struct grammars *g, struct matcher *m, const struct llmos_grammar *w)
{
    struct matcher_mark marks[MATCHER_MARKS_MAX];
    uint32_t count = 0;

    for (size_t i = 0; i < w->mark_count && count < MATCHER_MARKS_MAX; i++) {
        int32_t token = vocab_find_control(g->tokenizer, w->marks[i]);

        if (token < 0 || tokentrie_ends(g->trie, (uint32_t)token))
            continue;
        marks[count].token = (uint32_t)token;
        marks[count++].piece = g->tokenizer->tokens[token].piece;
    }
    matcher_set_marks(m, marks, count);
}

static int entry_create(struct grammars_entry **entry, struct grammars *g,
                        const struct llmos_grammar *wanted, struct buf *key, uint64_t domain,
                        struct llmos_error *err)
{
    struct grammars_entry *e;
    struct grammar *grammar;
    int rc = g->trie ? 0 : tokentrie_create(&g->trie, g->tokenizer, err);

    if (rc == 0)
        rc = grammar_compile(&grammar, (struct str){wanted->text, wanted->length}, err);
    if (rc < 0)
        return rc;
    e = mem_zalloc(1, sizeof(*e));
    if (!e) {
        grammar_destroy(grammar);
        return fail(err, LLMOS_ENOMEM, "no memory for a grammar");
    }
    e->domain = domain;
    rc = matcher_create(&e->matcher, grammar, g->trie, err);
    if (rc < 0) {
        entry_destroy(e);
        return rc;
    }
    set_marks(g, e->matcher, wanted);
    e->key = *key;
    *key = (struct buf){.at = NULL};
    *entry = e;
    return 0;
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

static int put_key(struct buf *key, const struct llmos_grammar *w, struct llmos_error *err)
{
    for (size_t i = 0; i < w->mark_count; i++)
        buf_put(key, w->marks[i], strlen(w->marks[i]) + 1);
    buf_putc(key, '\0');
    buf_put(key, w->text, w->length);
    return buf_check(key, "a grammar", err);
}

int grammars_take(struct grammars *g, const struct llmos_grammar *wanted, uint64_t domain,
                  struct matcher **matcher, struct grammars_entry **entry, struct llmos_error *err)
{
    CLEANUP(buf) struct buf key = {.limit_bytes = KEY_MAX};
    struct grammars_entry *e = NULL;
    int rc = put_key(&key, wanted, err);

    if (rc == 0)
        e = take_idle(g, buf_str(&key), domain);
    if (rc == 0 && !e)
        rc = entry_create(&e, g, wanted, &key, domain, err);
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
