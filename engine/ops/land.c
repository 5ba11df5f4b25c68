/*
 * land: the estimates behind the level are good to a few thousandths; this re-codes a few tensors
 * one by one, slightly finer or coarser, until the file is as large as it may be.
 *
 * Each step takes the smallest tensor not yet changed that can take up the gap within 1/8 octave,
 * or the largest when none can, and codes it at the level that its weights promise to close the
 * gap. The order depends on sizes and names only, so equal inputs give equal bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"
#include "engine/ops/track_a.h"

enum { REACH = 32 /* 1/8 octave in 1/256 */ };

struct landing {
    const char *name; /* borrowed */
    int64_t weights, bytes;
    bool embed, touched, changed;
    double scale;
    int level;
    struct uc_buf stream; /* when changed */
    json_t *info;
};

struct land {
    struct uc_op_ctx *ctx;
    struct ta_tables *tables;
    struct landing *t; /* by weights, then name */
    size_t n;
    bool body;
    int64_t size, low, high;
};

static int by_weights(const void *pa, const void *pb)
{
    const struct landing *a = pa, *b = pb;

    if (a->weights != b->weights)
        return a->weights < b->weights ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int read_tensors(struct land *l, struct uc_err *err)
{
    const struct uc_op_input *in;

    l->n = uc_op_in_group(l->ctx, "stream/", &in);
    l->t = uc_xcalloc(l->n ? l->n : 1, sizeof(*l->t));
    for (size_t i = 0; i < l->n; i++) {
        struct landing *t = &l->t[i];
        char *name = uc_xasprintf("info/%s", in[i].name + strlen("stream/"));
        const struct uc_op_input *info = uc_op_in(l->ctx, name, err);
        json_t *v = info ? uc_json_parse((const char *)info->data, info->size, name, err) : NULL;

        free(name);
        uc_buf_init(&t->stream, SIZE_MAX / 2);
        t->name = in[i].name + strlen("stream/");
        t->bytes = (int64_t)in[i].size;
        if (!v)
            return err->code;
        t->weights = uc_json_int(v, "rows", 0) * uc_json_int(v, "cols", 0);
        t->level = (int)uc_json_int(v, "log2_c_256", 0);
        t->scale = uc_json_num(v, "scale", 1);
        t->embed = strcmp(uc_json_str(v, "kind", ""), "embed") == 0;
        json_decref(v);
        if (t->weights <= 0)
            return uc_fail(err, UC_ECORRUPT, "info/%s does not say the tensor's shape", t->name);
        if (!(l->body && t->embed))
            l->size += t->bytes;
    }
    qsort(l->t, l->n, sizeof(*l->t), by_weights);
    return 0;
}

/* Bytes that a change of 1/256 octave moves: one bit a weight and octave. */
static int64_t move_for(const struct landing *t, int64_t gap)
{
    int64_t d = gap * 2048 / t->weights;

    if (d == 0 && gap < 0)
        d = -1;
    return d > REACH ? REACH : d < -REACH ? -REACH : d;
}

static struct landing *choose(struct land *l, int64_t gap)
{
    struct landing *largest = NULL;
    int64_t need = gap < 0 ? -gap : gap;

    for (size_t i = 0; i < l->n; i++) {
        struct landing *t = &l->t[i];
        if (t->touched || (l->body && t->embed))
            continue;
        largest = t;
        if (t->weights * REACH / 2048 >= need)
            return t;
    }
    return largest;
}

static void forget(const struct uc_op_ctx *ctx, const char *name)
{
    const struct uc_op_input *in = uc_op_in_opt(ctx, name);

    if (in)
        uc_op_forget(ctx, in->data, in->size);
}

static int recode(struct land *l, struct landing *t, int64_t move, struct uc_err *err)
{
    char *weight = uc_xasprintf("weight/%s", t->name), *factor = uc_xasprintf("l/%s", t->name);
    char *rows = uc_xasprintf("rows/%s/", t->name);
    struct ta_names names = {weight, factor, rows, t->embed, t->scale};
    struct ta_tensor tensor = {0};
    json_t *info = NULL;
    int rc = ta_tensor_open(&tensor, l->ctx, &names, err);

    uc_buf_clear(&t->stream);
    ta_tables_init(l->tables, t->embed);
    if (rc == 0)
        rc = ta_quantize(&tensor, l->tables, t->level - (int)move, l->ctx->pool, &t->stream, &info,
                         err);
    if (rc == 0) {
        json_decref(t->info);
        t->info = info;
        t->level -= (int)move;
        t->touched = t->changed = true;
        l->size += (int64_t)t->stream.len - t->bytes;
        t->bytes = (int64_t)t->stream.len;
    } else {
        uc_within(err, "%s", t->name);
    }
    ta_tensor_close(&tensor);
    forget(l->ctx, weight);
    forget(l->ctx, factor);
    free(weight);
    free(factor);
    free(rows);
    return rc;
}

static int find_fit(struct land *l, struct uc_err *err)
{
    size_t most = 64 + 4 * l->n;

    for (size_t i = 0; i < most; i++) {
        /* where the last step may end: most of the way, so that small models get there too */
        int64_t gap = l->high - (l->high - l->low) / 4 - l->size;
        struct landing *t;

        if (l->size <= l->high && l->size >= l->low)
            return 0;
        t = choose(l, gap);
        if (!t || move_for(t, gap) == 0) {
            for (size_t k = 0; k < l->n; k++)
                l->t[k].touched = false;
            t = choose(l, gap);
        }
        if (!t || move_for(t, gap) == 0)
            break;
        if (recode(l, t, move_for(t, gap), err) < 0)
            return err->code;
        uc_op_progress(l->ctx, i + 1, most);
    }
    if (l->size <= l->high)
        return 0; /* below by less than any tensor can take up: the rest is padded */
    uc_fail(err, UC_EFAIL, "the coded tensors take %lld bytes, %lld are allowed, and no level fits",
            (long long)l->size, (long long)l->high);
    return uc_fix(err, "choose another bpw");
}

static int put_patch(struct land *l, struct uc_err *err)
{
    json_t *head = json_object(), *tensors = json_object();
    struct uc_blob_writer w;
    uint64_t offset = 0, length;
    char *text;
    int rc;

    for (size_t i = 0; i < l->n; i++) {
        struct landing *t = &l->t[i];
        if (!t->changed)
            continue;
        json_object_set_new(tensors, t->name,
                            json_pack("{s:I,s:I,s:O}", "offset", (json_int_t)offset, "size",
                                      (json_int_t)t->stream.len, "info", t->info));
        offset += t->stream.len;
    }
    json_object_set_new(head, "tensors", tensors);
    text = uc_json_canonical(head);
    json_decref(head);
    length = strlen(text);
    rc = uc_blob_create(l->ctx, "patch", &w, err);
    if (rc == 0) {
        rc = uc_blob_add(&w, &length, 8, err);
        if (rc == 0)
            rc = uc_blob_add(&w, text, length, err);
        for (size_t i = 0; rc == 0 && i < l->n; i++)
            if (l->t[i].changed)
                rc = uc_blob_add(&w, l->t[i].stream.data, l->t[i].stream.len, err);
        rc = uc_blob_close(&w, rc, err);
    }
    free(text);
    return rc;
}

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    int64_t target = uc_json_int(ctx->params, "target_bytes", 0);
    int64_t fixed = uc_json_int(ctx->params, "fixed_bytes", 0);
    struct land l = {
        .ctx = ctx,
        .body = strcmp(uc_json_str(ctx->params, "count", "all"), "body") == 0,
        .high = target - fixed,
        .low = target - fixed - target / 2500,
    };
    size_t changed = 0;
    int rc = uc_alloc(&l.tables, 1, sizeof(*l.tables), "cost tables", err);

    if (rc == 0)
        rc = read_tensors(&l, err);
    if (rc == 0)
        rc = find_fit(&l, err);
    if (rc == 0)
        rc = put_patch(&l, err);
    for (size_t i = 0; i < l.n && l.t; i++) {
        changed += l.t[i].changed;
        uc_buf_release(&l.t[i].stream);
        json_decref(l.t[i].info);
    }
    json_object_set_new(ctx->metrics, "recoded", json_integer((json_int_t)changed));
    json_object_set_new(ctx->metrics, "coded_bytes", json_integer((json_int_t)l.size));
    free(l.t);
    free(l.tables);
    return rc;
}

const struct uc_op uc_op_land = {
    .name = "land",
    .version = 2,
    .summary = "re-code a few tensors so that the file meets its budget",
    .run = run,
};
