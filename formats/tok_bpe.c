/*
 * Byte pair encoding: the vocabulary, the merges and the merging of one piece.
 * Merges happen in the order (rank, position), kept by a heap whose entries may be stale; an entry
 * counts as stale when its pair no longer gives the same token, exactly as in the library, because
 * two pairs that give one token make that visible in the ids.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/tok.h"

#define MAX_ID      (1u << 24)
#define CACHE_SLOTS (1u << 16)
#define CACHE_PIECE 256

struct merge_slot {
    uint64_t pair; /* left id << 32 | right id; ids are below MAX_ID, so ~0 is free */
    uint32_t rank, id;
};

struct tok_bpe {
    struct uc_arena arena;
    const char **token; /* by id; NULL: none */
    uint32_t *token_len;
    uint32_t n_ids; /* highest id + 1 */
    size_t n_tokens;
    uint32_t *slots; /* token -> id, open addressing; TOK_NONE is free */
    uint32_t slot_mask;
    struct merge_slot *merges;
    size_t merge_mask;
    char *prefix, *suffix; /* of a piece's characters; NULL: none */
    char *unk;             /* NULL: none */
    uint32_t byte_id[256]; /* <0xNN>, or TOK_NONE */
    bool fuse_unk, byte_fallback, ignore_merges;
};

struct symbol {
    uint32_t id;
    int32_t prev, next; /* -1: none */
    uint32_t len;       /* 0: merged into its left neighbour */
};

struct candidate {
    uint32_t rank, pos, id;
};

struct cached {
    uint32_t hash, len; /* len 0: free */
    size_t key, ids, n; /* offsets in keys and pool.v */
};

struct tok_bpe_run {
    const struct tok_bpe *bpe;
    struct symbol *sym;
    size_t n_sym, cap_sym;
    struct candidate *heap;
    size_t n_heap, cap_heap;
    struct cached *cache;
    size_t n_cached, n_slots;
    struct uc_buf keys;
    struct tok_ids pool;
};

static uint32_t hash_bytes(const char *p, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ n, k;

    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&k, p, 8);
        h = (h ^ k) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    k = 0;
    memcpy(&k, p, n);
    h = (h ^ k) * 0xff51afd7ed558ccdu;
    h ^= h >> 29;
    return (uint32_t)(h * 0xc4ceb9fe1a85ec53u >> 32);
}

/* ---- vocabulary ---- */

uint32_t tok_bpe_id(const struct tok_bpe *b, const char *s, size_t n)
{
    for (uint32_t i = hash_bytes(s, n);; i++) {
        uint32_t id = b->slots[i & b->slot_mask];
        if (id == TOK_NONE || (b->token_len[id] == n && memcmp(b->token[id], s, n) == 0))
            return id;
    }
}

static int alloc_vocab(struct tok_bpe *b, const json_t *vocab, const char *what, struct uc_err *err)
{
    size_t n_slots = 64;
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)vocab, key, v)
    {
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= MAX_ID)
            return uc_fail(err, UC_EREFUSED, "%s: vocabulary: id of \"%.80s\" is not in 0..%u",
                           what, key, MAX_ID - 1);
        if (json_integer_value(v) >= b->n_ids)
            b->n_ids = (uint32_t)json_integer_value(v) + 1;
    }
    b->n_tokens = json_object_size(vocab);
    while (n_slots < b->n_tokens * 2)
        n_slots *= 2;
    b->slot_mask = (uint32_t)n_slots - 1;
    b->token = calloc((size_t)b->n_ids + 1, sizeof(*b->token));
    b->token_len = calloc((size_t)b->n_ids + 1, sizeof(*b->token_len));
    b->slots = malloc(n_slots * sizeof(*b->slots));
    if (!b->token || !b->token_len || !b->slots)
        return uc_fail(err, UC_ERESOURCE, "%s: no memory for %zu tokens", what, b->n_tokens);
    memset(b->slots, 0xff, n_slots * sizeof(*b->slots));
    return 0;
}

static int read_vocab(struct tok_bpe *b, const json_t *vocab, const char *what, struct uc_err *err)
{
    const char *key;
    json_t *v;
    int rc;

    if (!json_is_object(vocab))
        return uc_fail(err, UC_EREFUSED, "%s: the model has no vocab", what);
    rc = alloc_vocab(b, vocab, what, err);
    if (rc < 0)
        return rc;
    json_object_foreach((json_t *)vocab, key, v)
    {
        uint32_t id = (uint32_t)json_integer_value(v), i;
        size_t n = strlen(key);
        if (b->token[id])
            return uc_fail(err, UC_EREFUSED, "%s: vocabulary: \"%.80s\" and \"%.80s\" share id %u",
                           what, b->token[id], key, id);
        b->token[id] = uc_arena_strndup(&b->arena, key, n);
        b->token_len[id] = (uint32_t)n;
        for (i = hash_bytes(key, n); b->slots[i & b->slot_mask] != TOK_NONE; i++)
            ;
        b->slots[i & b->slot_mask] = id;
    }
    for (unsigned c = 0; c < 256; c++) {
        char name[8];
        snprintf(name, sizeof(name), "<0x%02X>", c);
        b->byte_id[c] = tok_bpe_id(b, name, 6);
    }
    return 0;
}

/* ---- merges ---- */

static struct merge_slot *merge_at(const struct tok_bpe *b, uint64_t pair)
{
    for (size_t i = (size_t)(pair * 0x9e3779b97f4a7c15u >> 24);; i++) {
        struct merge_slot *s = &b->merges[i & b->merge_mask];
        if (s->pair == pair || s->pair == UINT64_MAX)
            return s;
    }
}

/* "a b" or ["a", "b"]: the two tokens, in scratch (n bytes a, a NUL, b). */
static int split_merge(const json_t *m, size_t rank, struct uc_buf *scratch, size_t *n_left,
                       const char *what, struct uc_err *err)
{
    const json_t *l = json_array_get(m, 0), *r = json_array_get(m, 1);

    uc_buf_clear(scratch);
    if (json_is_string(m)) {
        const char *s = json_string_value(m), *space = strchr(s, ' ');
        if (!space || strchr(space + 1, ' '))
            return uc_fail(err, UC_EREFUSED, "%s: merge %zu \"%.80s\" is not two tokens", what,
                           rank, s);
        *n_left = (size_t)(space - s);
        uc_buf_adds(scratch, s);
    } else if (json_array_size(m) == 2 && json_is_string(l) && json_is_string(r)) {
        *n_left = json_string_length(l);
        uc_buf_add(scratch, json_string_value(l), *n_left);
        uc_buf_addc(scratch, ' ');
        uc_buf_add(scratch, json_string_value(r), json_string_length(r));
    } else {
        return uc_fail(err, UC_EREFUSED, "%s: merge %zu is not two tokens", what, rank);
    }
    return uc_buf_check(scratch, "merge", err);
}

static int add_merge(struct tok_bpe *b, const json_t *m, size_t rank, struct uc_buf *scratch,
                     const char *what, struct uc_err *err)
{
    size_t n_left = 0, n_prefix = b->prefix ? strlen(b->prefix) : 0, n_right;
    uint32_t left, right, whole;
    struct merge_slot *slot;
    char *s;
    int rc = split_merge(m, rank, scratch, &n_left, what, err);

    if (rc < 0)
        return rc;
    s = (char *)scratch->data;
    n_right = scratch->len - n_left - 1;
    left = tok_bpe_id(b, s, n_left);
    right = tok_bpe_id(b, s + n_left + 1, n_right);
    if (left == TOK_NONE || right == TOK_NONE || n_right < n_prefix)
        return uc_fail(err, UC_EREFUSED, "%s: merge %zu \"%.80s\" names a token that is not there",
                       what, rank, s);
    memmove(s + n_left, s + n_left + 1 + n_prefix, n_right - n_prefix);
    whole = tok_bpe_id(b, s, n_left + n_right - n_prefix);
    if (whole == TOK_NONE)
        return uc_fail(
            err, UC_EREFUSED, "%s: merge %zu gives \"%.*s\", which is not a token", what, rank,
            (int)(n_left + n_right - n_prefix > 80 ? 80 : n_left + n_right - n_prefix), s);
    slot = merge_at(b, (uint64_t)left << 32 | right);
    *slot = (struct merge_slot){(uint64_t)left << 32 | right, (uint32_t)rank, whole};
    return 0;
}

static int read_merges(struct tok_bpe *b, const json_t *merges, const char *what,
                       struct uc_err *err)
{
    size_t n = json_array_size(merges), n_slots = 64, rank = 0;
    struct uc_buf scratch;
    int rc = 0;

    if (!json_is_array(merges))
        return uc_fail(err, UC_EREFUSED, "%s: the model has no merges", what);
    while (n_slots < n * 2)
        n_slots *= 2;
    b->merge_mask = n_slots - 1;
    b->merges = malloc(n_slots * sizeof(*b->merges));
    if (!b->merges)
        return uc_fail(err, UC_ERESOURCE, "%s: no memory for %zu merges", what, n);
    memset(b->merges, 0xff, n_slots * sizeof(*b->merges));
    uc_buf_init(&scratch, 1 << 20);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const json_t *m = json_array_get(merges, i);
        const char *s = json_string_value(m);
        if (s && strncmp(s, "#version", 8) == 0)
            continue;
        rc = add_merge(b, m, rank++, &scratch, what, err);
    }
    uc_buf_release(&scratch);
    return rc;
}

/* ---- opening ---- */

static char *affix(const json_t *model, const char *name)
{
    const char *s = uc_json_str(model, name, "");

    return *s ? uc_xstrdup(s) : NULL;
}

static int read_model(struct tok_bpe *b, const json_t *model, const char *what, struct uc_err *err)
{
    const char *type = uc_json_str(model, "type", NULL), *unk;
    int rc;

    if (!json_is_object(model))
        return uc_fail(err, UC_EREFUSED, "%s: no model", what);
    /* old files leave the type out; only BPE has merges */
    if (type ? strcmp(type, "BPE") : !json_object_get(model, "merges"))
        return tok_refuse(what, "a model", type ? type : "(none)", err);
    if (uc_json_num(model, "dropout", 0) != 0)
        return uc_fail(err, UC_EREFUSED, "%s: the model has dropout: its ids are random", what);
    b->prefix = affix(model, "continuing_subword_prefix");
    b->suffix = affix(model, "end_of_word_suffix");
    b->fuse_unk = uc_json_bool(model, "fuse_unk", false);
    b->byte_fallback = uc_json_bool(model, "byte_fallback", false);
    b->ignore_merges = uc_json_bool(model, "ignore_merges", false);
    if (b->byte_fallback && (b->prefix || b->suffix))
        return uc_fail(err, UC_EREFUSED,
                       "%s: byte_fallback together with a prefix or suffix is not supported", what);
    unk = uc_json_str(model, "unk_token", NULL);
    b->unk = unk ? uc_xstrdup(unk) : NULL;
    rc = read_vocab(b, json_object_get(model, "vocab"), what, err);
    return rc < 0 ? rc : read_merges(b, json_object_get(model, "merges"), what, err);
}

struct tok_bpe *tok_bpe_new(const json_t *model, const char *what, struct uc_err *err)
{
    struct tok_bpe *b = uc_xcalloc(1, sizeof(*b));

    uc_arena_init(&b->arena);
    if (read_model(b, model, what, err) < 0) {
        tok_bpe_free(b);
        return NULL;
    }
    return b;
}

void tok_bpe_free(struct tok_bpe *b)
{
    if (!b)
        return;
    uc_arena_release(&b->arena);
    free(b->token);
    free(b->token_len);
    free(b->slots);
    free(b->merges);
    free(b->prefix);
    free(b->suffix);
    free(b->unk);
    free(b);
}

size_t tok_bpe_count(const struct tok_bpe *b)
{
    return b->n_tokens;
}

uint32_t tok_bpe_max(const struct tok_bpe *b)
{
    return b->n_ids;
}

const char *tok_bpe_token(const struct tok_bpe *b, uint32_t id, size_t *n)
{
    if (id >= b->n_ids || !b->token[id])
        return NULL;
    *n = b->token_len[id];
    return b->token[id];
}

/* ---- encoding one piece ---- */

struct tok_bpe_run *tok_bpe_run_new(const struct tok_bpe *b, size_t n_text)
{
    struct tok_bpe_run *r = uc_xcalloc(1, sizeof(*r));

    r->bpe = b;
    r->n_slots = 64;
    while (r->n_slots < CACHE_SLOTS && r->n_slots < n_text)
        r->n_slots *= 2;
    r->cache = uc_xcalloc(r->n_slots, sizeof(*r->cache));
    uc_buf_init(&r->keys, SIZE_MAX / 4);
    return r;
}

void tok_bpe_run_free(struct tok_bpe_run *r)
{
    if (!r)
        return;
    free(r->sym);
    free(r->heap);
    free(r->cache);
    free(r->pool.v);
    uc_buf_release(&r->keys);
    free(r);
}

int tok_ids_add(struct tok_ids *ids, const uint32_t *v, size_t n, struct uc_err *err)
{
    int rc = tok_grow(&ids->v, &ids->cap, ids->n + n, sizeof(*ids->v), err);

    if (rc == 0 && n) {
        memcpy(ids->v + ids->n, v, n * sizeof(*v));
        ids->n += n;
    }
    return rc;
}

static int add_symbol(struct tok_bpe_run *r, uint32_t id, size_t len, struct uc_err *err)
{
    int32_t at = (int32_t)r->n_sym;
    int rc = tok_grow(&r->sym, &r->cap_sym, r->n_sym + 1, sizeof(*r->sym), err);

    if (rc < 0)
        return rc;
    if (at)
        r->sym[at - 1].next = at;
    r->sym[r->n_sym++] = (struct symbol){id, at - 1, -1, (uint32_t)len};
    return 0;
}

/* The id of one character of a piece, with the affixes that its place asks for. */
static uint32_t character_id(const struct tok_bpe *b, const char *p, size_t len, bool first,
                             bool last)
{
    const char *prefix = first || !b->prefix ? "" : b->prefix;
    const char *suffix = !last || !b->suffix ? "" : b->suffix;
    char *s;
    uint32_t id;

    if (!*prefix && !*suffix)
        return tok_bpe_id(b, p, len);
    s = uc_xasprintf("%s%.*s%s", prefix, (int)len, p, suffix);
    id = tok_bpe_id(b, s, strlen(s));
    free(s);
    return id;
}

static bool has_bytes(const struct tok_bpe *b, const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (b->byte_id[(uint8_t)p[i]] == TOK_NONE)
            return false;
    return true;
}

/* One unknown character. It is held back, because fuse_unk may add the next to it. */
static int unknown(struct tok_bpe_run *r, size_t len, uint32_t *unk, size_t *unk_len,
                   struct uc_err *err)
{
    const struct tok_bpe *b = r->bpe;
    int rc = 0;

    if (!b->unk)
        return 0;
    if (*unk != TOK_NONE && b->fuse_unk) {
        *unk_len += len;
        return 0;
    }
    if (*unk != TOK_NONE)
        rc = add_symbol(r, *unk, *unk_len, err);
    *unk = tok_bpe_id(b, b->unk, strlen(b->unk));
    *unk_len = len;
    if (*unk == TOK_NONE && rc == 0)
        rc = uc_fail(err, UC_EREFUSED, "tokenizer: unk_token \"%s\" is not in its vocabulary",
                     b->unk);
    return rc;
}

static int start_symbols(struct tok_bpe_run *r, const char *p, size_t n, struct uc_err *err)
{
    const struct tok_bpe *b = r->bpe;
    uint32_t unk = TOK_NONE;
    size_t unk_len = 0, len;
    int rc = 0;

    r->n_sym = 0;
    for (size_t i = 0; i < n && rc == 0; i += len) {
        tok_char(p + i, n - i, &len);
        uint32_t id = character_id(b, p + i, len, i == 0, i + len == n);
        if (id != TOK_NONE) {
            if (unk != TOK_NONE)
                rc = add_symbol(r, unk, unk_len, err);
            unk = TOK_NONE;
            if (rc == 0)
                rc = add_symbol(r, id, len, err);
        } else if (b->byte_fallback && has_bytes(b, p + i, len)) {
            /* an unknown that is held back stays so: the library orders it after these */
            for (size_t k = 0; k < len && rc == 0; k++)
                rc = add_symbol(r, b->byte_id[(uint8_t)p[i + k]], 1, err);
        } else {
            rc = unknown(r, len, &unk, &unk_len, err);
        }
    }
    if (rc == 0 && unk != TOK_NONE)
        rc = add_symbol(r, unk, unk_len, err);
    return rc;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static int push(struct tok_bpe_run *r, size_t pos, struct uc_err *err)
{
    const struct symbol *s = &r->sym[pos];
    const struct merge_slot *m;
    struct candidate c;
    size_t i = r->n_heap;

    if (s->next < 0)
        return 0;
    m = merge_at(r->bpe, (uint64_t)s->id << 32 | r->sym[s->next].id);
    if (m->pair == UINT64_MAX)
        return 0;
    if (tok_grow(&r->heap, &r->cap_heap, i + 1, sizeof(*r->heap), err) < 0)
        return UC_ERESOURCE;
    c = (struct candidate){m->rank, (uint32_t)pos, m->id};
    for (r->n_heap++; i > 0 && before(&c, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = c;
    return 0;
}

static struct candidate pop(struct tok_bpe_run *r)
{
    struct candidate top = r->heap[0], c = r->heap[--r->n_heap];
    size_t i = 0, n = r->n_heap;

    for (;;) {
        size_t k = 2 * i + 1;
        if (k >= n)
            break;
        if (k + 1 < n && before(&r->heap[k + 1], &r->heap[k]))
            k++;
        if (!before(&r->heap[k], &c))
            break;
        r->heap[i] = r->heap[k];
        i = k;
    }
    r->heap[i] = c;
    return top;
}

static int merge_all(struct tok_bpe_run *r, struct uc_err *err)
{
    int rc = 0;

    r->n_heap = 0;
    for (size_t i = 0; i + 1 < r->n_sym && rc == 0; i++)
        rc = push(r, i, err);
    while (r->n_heap && rc == 0) {
        struct candidate c = pop(r);
        struct symbol *s = &r->sym[c.pos], *right;
        const struct merge_slot *m;
        if (s->len == 0 || s->next < 0)
            continue;
        right = &r->sym[s->next];
        m = merge_at(r->bpe, (uint64_t)s->id << 32 | right->id);
        if (m->pair == UINT64_MAX || m->id != c.id)
            continue;
        s->id = c.id;
        s->len += right->len;
        s->next = right->next;
        right->len = 0;
        if (s->next >= 0)
            r->sym[s->next].prev = (int32_t)c.pos;
        if (s->prev >= 0)
            rc = push(r, (size_t)s->prev, err);
        if (rc == 0)
            rc = push(r, c.pos, err);
    }
    return rc;
}

static int encode(struct tok_bpe_run *r, const char *p, size_t n, struct tok_ids *out,
                  struct uc_err *err)
{
    int rc;

    if (n > INT32_MAX / 2)
        return uc_fail(err, UC_ERESOURCE, "tokenizer: a piece of %zu bytes is too long", n);
    rc = start_symbols(r, p, n, err);
    if (rc == 0)
        rc = merge_all(r, err);
    for (size_t i = 0; i < r->n_sym && rc == 0; i++)
        if (r->sym[i].len)
            rc = tok_ids_add(out, &r->sym[i].id, 1, err);
    return rc;
}

static struct cached *cache_slot(struct tok_bpe_run *r, const char *p, size_t n, uint32_t hash)
{
    for (uint32_t i = hash;; i++) {
        struct cached *c = &r->cache[i & (r->n_slots - 1)];
        if (!c->len || (c->hash == hash && c->len == n && memcmp(r->keys.data + c->key, p, n) == 0))
            return c;
    }
}

int tok_bpe_encode(struct tok_bpe_run *r, const char *piece, size_t n, struct tok_ids *out,
                   struct uc_err *err)
{
    struct cached *c;
    uint32_t hash, id;
    size_t n_before = out->n;
    int rc;

    if (r->bpe->ignore_merges && (id = tok_bpe_id(r->bpe, piece, n)) != TOK_NONE)
        return tok_ids_add(out, &id, 1, err);
    if (n >= CACHE_PIECE)
        return encode(r, piece, n, out, err);
    hash = hash_bytes(piece, n);
    c = cache_slot(r, piece, n, hash);
    if (c->len)
        return tok_ids_add(out, r->pool.v + c->ids, c->n, err);
    rc = encode(r, piece, n, out, err);
    if (rc < 0 || r->n_cached >= r->n_slots / 2)
        return rc;
    *c = (struct cached){hash, (uint32_t)n, r->keys.len, r->pool.n, out->n - n_before};
    r->n_cached++;
    uc_buf_add(&r->keys, piece, n);
    rc = tok_ids_add(&r->pool, out->v + n_before, c->n, err);
    return rc < 0 ? rc : uc_buf_check(&r->keys, "tokenizer cache", err);
}
