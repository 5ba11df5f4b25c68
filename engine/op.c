#include "engine/op.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fsio.h"
#include "base/str.h"

const struct uc_op *uc_op_find(const char *name)
{
    for (const struct uc_op *const *op = uc_ops; *op; op++)
        if (strcmp((*op)->name, name) == 0)
            return *op;
    return NULL;
}

/* Index of the first input whose name is not less than name. */
static size_t lower_bound(const struct uc_op_ctx *ctx, const char *name)
{
    size_t lo = 0, hi = ctx->n_inputs;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(ctx->inputs[mid].name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct uc_op_input *uc_op_in_opt(const struct uc_op_ctx *ctx, const char *name)
{
    size_t i = lower_bound(ctx, name);

    if (i < ctx->n_inputs && strcmp(ctx->inputs[i].name, name) == 0)
        return &ctx->inputs[i];
    return NULL;
}

const struct uc_op_input *uc_op_in(const struct uc_op_ctx *ctx, const char *name,
                                   struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in_opt(ctx, name);

    if (!in)
        uc_fail(err, UC_EFAIL, "input '%s' is missing", name);
    return in;
}

size_t uc_op_in_group(const struct uc_op_ctx *ctx, const char *prefix,
                      const struct uc_op_input **first)
{
    size_t i = lower_bound(ctx, prefix), n = 0;

    while (i + n < ctx->n_inputs && uc_str_starts(ctx->inputs[i + n].name, prefix))
        n++;
    *first = n ? &ctx->inputs[i] : NULL;
    return n;
}

const char *uc_op_out(const struct uc_op_ctx *ctx, const char *name, struct uc_err *err)
{
    for (size_t i = 0; i < ctx->n_outputs; i++)
        if (strcmp(ctx->outputs[i].name, name) == 0)
            return ctx->outputs[i].path;
    uc_fail(err, UC_EFAIL, "output '%s' is not declared", name);
    return NULL;
}

void uc_op_forget(const struct uc_op_ctx *ctx, const void *p, size_t n)
{
    uintptr_t at = (uintptr_t)p;

    for (size_t i = 0; i < ctx->n_inputs && n; i++) {
        const struct uc_op_input *in = &ctx->inputs[i];
        uintptr_t first = (uintptr_t)in->data;
        if (in->mapped && at >= first && at + n <= first + in->size) {
            uc_map_forget(p, n);
            break;
        }
    }
}

void uc_op_in_digest(const struct uc_op_input *in, struct uc_digest *out)
{
    if (in->mapped)
        uc_map_digest(in->data, in->size, out);
    else
        uc_digest_of(in->size ? in->data : (const uint8_t *)"", in->size, out);
}

int uc_op_put(const struct uc_op_ctx *ctx, const char *name, const void *p, size_t n,
              struct uc_err *err)
{
    const char *path = uc_op_out(ctx, name, err);
    int fd, rc;

    if (!path)
        return UC_EFAIL;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return uc_fail_errno(err, "%s: create", path);
    rc = uc_write_all(fd, p, n, path, err);
    if (close(fd) < 0 && rc == 0)
        rc = uc_fail_errno(err, "%s: close", path);
    return rc;
}
