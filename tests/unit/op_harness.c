#include "op_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"

struct op_run *op_new(const char *params, int threads)
{
    struct op_run *r = uc_xcalloc(1, sizeof(*r));
    char tmp[] = "uc-op-XXXXXX";

    r->params = uc_json_parse(params, strlen(params), "params", &r->err);
    if (!r->params)
        fail_msg("%s", r->err.msg);
    assert_non_null(mkdtemp(tmp));
    r->dir = uc_xstrdup(tmp);
    r->ctx.params = r->params;
    r->ctx.inputs = r->in;
    r->ctx.outputs = r->out;
    r->ctx.n_threads = threads;
    r->ctx.pool = uc_pool_new(threads, &r->err);
    r->ctx.metrics = json_object();
    r->ctx.scratch = r->dir;
    return r;
}

void op_free(struct op_run *r)
{
    for (size_t i = 0; i < r->ctx.n_inputs; i++)
        free((char *)r->in[i].name);
    for (size_t i = 0; i < r->ctx.n_outputs; i++) {
        free((char *)r->out[i].name);
        free((char *)r->out[i].path);
        free(r->result[i].data);
    }
    uc_remove_tree(r->dir, &r->err);
    free(r->dir);
    uc_pool_free(r->ctx.pool);
    json_decref(r->params);
    json_decref(r->ctx.metrics);
    free(r);
}

/* Keeps the inputs sorted by name, as the engine does. */
static struct uc_op_input *add_input(struct op_run *r, const char *name)
{
    size_t i = r->ctx.n_inputs;

    assert_true(i < MAX_IO);
    for (; i > 0 && strcmp(r->in[i - 1].name, name) > 0; i--)
        r->in[i] = r->in[i - 1];
    memset(&r->in[i], 0, sizeof(r->in[i]));
    r->in[i].name = uc_xstrdup(name);
    r->ctx.n_inputs++;
    return &r->in[i];
}

void op_in(struct op_run *r, const char *name, const void *data, size_t size)
{
    struct uc_op_input *in = add_input(r, name);

    in->data = size ? data : NULL;
    in->size = size;
}

void op_in_tensor(struct op_run *r, const char *name, const struct uc_st *st, const char *tensor)
{
    const struct uc_tensor_info *t = uc_st_find(st, tensor);
    struct uc_op_input *in = add_input(r, name);

    if (!t)
        fail_msg("no tensor %s", tensor);
    in->data = st->map.data + t->offset;
    in->size = t->size;
    in->dtype = uc_dtype_name(t->dtype);
    in->n_dim = t->n_dim;
    memcpy(in->shape, t->shape, sizeof(in->shape));
}

void op_out(struct op_run *r, const char *name)
{
    size_t i = r->ctx.n_outputs++;
    char *path = uc_xasprintf("%s/out%zu", r->dir, i);

    assert_true(i < MAX_IO);
    r->out[i] = (struct uc_op_output){uc_xstrdup(name), path};
}

int op_go(struct op_run *r, const char *name)
{
    const struct uc_op *op = uc_op_find(name);
    int rc;

    assert_non_null(op);
    rc = op->run(&r->ctx, &r->err);
    for (size_t i = 0; rc == 0 && i < r->ctx.n_outputs; i++) {
        r->result[i].name = (char *)r->out[i].name;
        if (uc_read_file(r->out[i].path, 0, &r->result[i].data, &r->result[i].size, &r->err) < 0)
            fail_msg("output %s: %s", r->out[i].name, r->err.msg);
    }
    return rc;
}

const void *op_result(const struct op_run *r, const char *name, size_t *size)
{
    for (size_t i = 0; i < r->ctx.n_outputs; i++) {
        if (!r->result[i].name || strcmp(r->result[i].name, name) != 0)
            continue;
        if (size)
            *size = r->result[i].size;
        return r->result[i].data;
    }
    fail_msg("no output %s", name);
    return NULL;
}
