#include "engine/resolve.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "cache/ac.h"
#include "cache/db.h"
#include "engine/key.h"
#include "engine/op.h"

enum { DIGESTS_MAX = 1 << 30 };

void uc_resolver_init(struct uc_resolver *r, struct uc_cache *cache, const struct uc_graph *g,
                      const struct uc_build_opts *opts)
{
    size_t n = 0;

    memset(r, 0, sizeof(*r));
    r->cache = cache;
    r->g = g;
    r->force = opts->force;
    r->scope = opts->scope ? opts->scope : "";
    r->known = uc_xcalloc(g->n_actions + 1, sizeof(*r->known));
    r->first_output = uc_xcalloc(g->n_actions + 1, sizeof(*r->first_output));
    for (size_t i = 0; i < g->n_actions; i++) {
        r->first_output[i] = n;
        n += g->actions[i].n_outputs;
    }
    r->outputs = uc_xcalloc(n + 1, sizeof(*r->outputs));
}

void uc_resolver_release(struct uc_resolver *r)
{
    for (size_t i = 0; i < r->g->n_actions; i++) {
        free(r->known[i].detail);
        json_decref(r->known[i].digests);
    }
    free(r->known);
    free(r->outputs);
    free(r->first_output);
    free(r->blobs);
    memset(r, 0, sizeof(*r));
}

struct uc_known_output *uc_resolver_output(const struct uc_resolver *r, uint32_t id, size_t output)
{
    return &r->outputs[r->first_output[id] + output];
}

struct uc_known_output *uc_resolver_ref(const struct uc_resolver *r, const struct uc_ref *ref)
{
    const struct uc_output *o = uc_graph_output(r->g, ref->action, ref->output);

    return uc_resolver_output(r, ref->action, (size_t)(o - r->g->actions[ref->action].outputs));
}

bool uc_resolver_present(const struct uc_resolver *r, uint32_t id, size_t output)
{
    const struct uc_known_output *o = uc_resolver_output(r, id, output);

    return r->known[id].has_outputs && uc_cas_has(r->cache, &o->digest, o->size);
}

static size_t blob_slot(const struct uc_resolver *r, const struct uc_digest *d)
{
    size_t mask = r->cap_blobs - 1, i;

    memcpy(&i, d->b, sizeof(i));
    for (i &= mask; r->blobs[i].used && !uc_digest_eq(&r->blobs[i].digest, d); i = (i + 1) & mask)
        continue;
    return i;
}

struct uc_blob *uc_resolver_blob(struct uc_resolver *r, const struct uc_digest *d)
{
    struct uc_blob *b;

    if (2 * r->n_blobs >= r->cap_blobs) {
        struct uc_blob *old = r->blobs;
        size_t n = r->cap_blobs;
        r->cap_blobs = n ? 2 * n : 256;
        r->blobs = uc_xcalloc(r->cap_blobs, sizeof(*r->blobs));
        for (size_t i = 0; i < n; i++)
            if (old[i].used)
                r->blobs[blob_slot(r, &old[i].digest)] = old[i];
        free(old);
    }
    b = &r->blobs[blob_slot(r, d)];
    if (!b->used) {
        b->used = true;
        b->digest = *d;
        r->n_blobs++;
    }
    return b;
}

int uc_resolver_input(struct uc_resolver *r, const struct uc_input *in, struct uc_digest *out,
                      struct uc_err *err)
{
    const struct uc_ref *ref = &in->ref;
    const char *hex;

    if (ref->kind == UC_REF_OUTPUT) {
        *out = uc_resolver_ref(r, ref)->digest;
    } else if (ref->kind == UC_REF_TENSOR) {
        hex = uc_json_str(r->known[ref->action].digests, ref->output, "");
        if (strlen(hex) != UC_HEX_LEN || !uc_digest_parse(hex, out))
            return uc_fail(err, UC_EFAIL, "input '%s': %s has no tensor '%s'", in->name, ref->path,
                           ref->output);
    } else {
        *out = ref->digest;
    }
    return 0;
}

/* The fields of the key; *inputs is to be freed. */
static int key_fields(struct uc_resolver *r, uint32_t id, struct uc_key_fields *f,
                      struct uc_digest **inputs, struct uc_err *err)
{
    const struct uc_action *a = &r->g->actions[id];
    struct uc_known *k = &r->known[id];
    int rc = 0;

    *inputs = uc_xcalloc(a->n_inputs + 1, sizeof(**inputs));
    for (size_t i = 0; i < a->n_inputs && rc == 0; i++)
        rc = uc_resolver_input(r, &a->inputs[i], &(*inputs)[i], err);
    *f = (struct uc_key_fields){a, uc_op_find(a->op)->version, *inputs,
                                a->stat_path ? &k->ident : NULL, ""};
    return rc;
}

char *uc_resolver_key_text(struct uc_resolver *r, uint32_t id)
{
    struct uc_key_fields f;
    struct uc_digest *inputs;
    char *text = key_fields(r, id, &f, &inputs, NULL) == 0 ? uc_key_text(&f) : uc_xstrdup("");

    free(inputs);
    return text;
}

bool uc_resolver_take_result(struct uc_resolver *r, uint32_t id, const struct uc_result *rec)
{
    const struct uc_action *a = &r->g->actions[id];
    size_t k = 0;

    for (size_t i = 0; i < a->n_outputs; i++) { /* both are sorted by name */
        struct uc_known_output *o = uc_resolver_output(r, id, i);
        while (k < rec->n_outputs && strcmp(rec->outputs[k].name, a->outputs[i].name) < 0)
            k++;
        if (k == rec->n_outputs || strcmp(rec->outputs[k].name, a->outputs[i].name) != 0)
            return false;
        o->digest = rec->outputs[k].digest;
        o->size = rec->outputs[k].size;
    }
    r->known[id].has_outputs = true;
    r->known[id].seconds = rec->seconds;
    return true;
}

void uc_resolver_take_new(struct uc_resolver *r, uint32_t id, const struct uc_cas_new *outputs)
{
    for (size_t i = 0; i < r->g->actions[id].n_outputs; i++) {
        struct uc_known_output *o = uc_resolver_output(r, id, i);
        o->digest = outputs[i].digest;
        o->size = outputs[i].size;
        uc_resolver_blob(r, &o->digest)->vouched = true;
    }
    r->known[id].has_outputs = true;
}

int uc_resolver_read_digests(struct uc_resolver *r, uint32_t id, struct uc_err *err)
{
    const struct uc_action *a = &r->g->actions[id];
    const struct uc_output *o = uc_graph_output(r->g, id, UC_FINGERPRINT_OUTPUT);
    struct uc_known *k = &r->known[id];
    char *text;
    size_t n;
    int rc;

    if (!o)
        return uc_fail(err, UC_EFAIL, "%s: has no output '%s'", a->name, UC_FINGERPRINT_OUTPUT);
    rc = uc_cas_read(r->cache, &uc_resolver_output(r, id, (size_t)(o - a->outputs))->digest,
                     DIGESTS_MAX, &text, &n, err);
    if (rc < 0)
        return rc;
    json_decref(k->digests);
    k->digests = uc_json_parse(text, n, a->name, err);
    free(text);
    return json_is_object(k->digests) ? 0 : uc_fail(err, UC_EFAIL, "%s: no object", a->name);
}

bool uc_action_matches(const struct uc_action *a, const char *pattern)
{
    return pattern && (uc_str_match(pattern, a->op) || uc_str_match(pattern, a->name));
}

/* Nothing usable is stored: compares with the last build of the same recipe. */
static void explain_miss(struct uc_resolver *r, uint32_t id)
{
    struct uc_known *k = &r->known[id];
    struct uc_digest key;
    char *before, *after;

    k->why = UC_WHY_NEVER;
    if (!uc_db_last_get(uc_cache_db(r->cache), r->scope, r->g->actions[id].name, &key, &before))
        return;
    if (uc_digest_eq(&key, &k->key)) {
        k->why = UC_WHY_EVICTED;
    } else {
        k->why = UC_WHY_CHANGED;
        after = uc_resolver_key_text(r, id);
        free(k->detail);
        k->detail = uc_key_diff(before, after);
        free(after);
    }
    free(before);
}

/* The record of a fingerprint helps only if its digests can be read now. */
static bool usable(struct uc_resolver *r, uint32_t id)
{
    struct uc_known *k = &r->known[id];
    struct uc_err err = {0};
    int rc;

    if (!r->g->actions[id].stat_path)
        return true;
    rc = uc_resolver_read_digests(r, id, &err);
    if (rc == 0)
        return true;
    k->why = UC_WHY_EVICTED;
    if (rc == UC_ECORRUPT) {
        const struct uc_output *o = uc_graph_output(r->g, id, UC_FINGERPRINT_OUTPUT);
        size_t i = (size_t)(o - r->g->actions[id].outputs);
        uc_warn("damaged blob dropped: %s", err.msg);
        uc_cas_drop(r->cache, &uc_resolver_output(r, id, i)->digest);
        k->why = UC_WHY_CORRUPT;
        k->corrupt = true;
    }
    return false;
}

int uc_resolver_lookup(struct uc_resolver *r, uint32_t id, struct uc_err *err)
{
    const struct uc_action *a = &r->g->actions[id];
    struct uc_known *k = &r->known[id];
    struct uc_key_fields f;
    struct uc_digest *inputs;
    struct uc_result rec;
    bool trusted = true;
    int rc = 0;

    if (a->stat_path && !k->has_ident) {
        rc = uc_cache_ident(r->cache, a->stat_path, &k->ident, &trusted, err);
        k->untrusted = !trusted;
        k->has_ident = rc == 0;
    }
    if (rc < 0)
        return rc;
    rc = key_fields(r, id, &f, &inputs, err);
    if (rc == 0)
        uc_key_of(&f, &k->key);
    free(inputs);
    if (rc < 0)
        return rc;
    k->has_key = true;
    if (uc_action_matches(a, r->force)) {
        k->why = UC_WHY_FORCED;
        return 0;
    }
    if (!k->untrusted && uc_ac_get(r->cache, &k->key, &rec)) {
        k->stored = uc_resolver_take_result(r, id, &rec);
        uc_result_release(&rec);
        if (k->stored && usable(r, id))
            return 1;
    }
    if (k->why == UC_WHY_NONE)
        explain_miss(r, id);
    return 0;
}

void uc_resolver_mark_used(const struct uc_graph *g, const struct uc_target *const *targets,
                           size_t n, const char *until, uint8_t *used)
{
    uint32_t *ids = uc_xcalloc(g->n_actions + 1, sizeof(*ids));
    size_t n_ids;

    memset(used, 0, g->n_actions);
    for (size_t t = 0; t < n; t++) {
        uc_graph_closure(g, targets[t], ids, &n_ids);
        for (size_t i = 0; i < n_ids; i++)
            used[ids[i]] |= !until || uc_action_matches(&g->actions[ids[i]], until);
    }
    free(ids);
    /* With until, what the matching actions need is still to be marked. */
    for (size_t i = g->n_actions; i-- > 0;) {
        const struct uc_action *a = &g->actions[i];
        for (size_t k = 0; used[i] && k < a->n_inputs; k++)
            if (a->inputs[k].ref.kind == UC_REF_OUTPUT || a->inputs[k].ref.kind == UC_REF_TENSOR)
                used[a->inputs[k].ref.action] = 1;
    }
}

double uc_predict(struct uc_cache *cache, const struct uc_action *a, bool *from_history)
{
    double seconds = 0;
    bool known = uc_db_history_get(uc_cache_db(cache), a->op, a->work, &seconds);

    if (from_history)
        *from_history = known;
    /* Without history the declared work only has to give an order. */
    return known ? seconds : a->work > 0 ? 1e-9 * a->work : 1e-3;
}
