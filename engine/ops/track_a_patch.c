#include "engine/ops/track_a_patch.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

json_t *ta_patch_open(const struct uc_op_ctx *ctx, const uint8_t **data, uint64_t *size,
                      struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, "patch", err);
    uint64_t head;

    if (!in)
        return NULL;
    if (in->size >= 8)
        memcpy(&head, in->data, 8);
    if (in->size < 8 || head > in->size - 8) {
        uc_fail(err, UC_ECORRUPT, "patch is shorter than its header");
        return NULL;
    }
    *data = in->data + 8 + head;
    *size = in->size - 8 - head;
    return uc_json_parse((const char *)in->data + 8, head, "patch", err);
}

json_t *ta_info(const struct uc_op_ctx *ctx, const json_t *patch, const char *name,
                struct uc_err *err)
{
    json_t *info =
        json_object_get(json_object_get(json_object_get(patch, "tensors"), name), "info");
    const struct uc_op_input *in;
    char *input;

    if (info)
        return json_incref(info);
    input = uc_xasprintf("info/%s", name);
    in = uc_op_in(ctx, input, err);
    if (in)
        info = uc_json_parse((const char *)in->data, in->size, input, err);
    free(input);
    return info;
}

static int replace(struct ta_stream *s, const json_t *entry, const uint8_t *data, uint64_t size,
                   struct uc_err *err)
{
    int64_t offset = uc_json_int(entry, "offset", -1), n = uc_json_int(entry, "size", -1);

    if (offset < 0 || n < 0 || (uint64_t)offset > size || (uint64_t)n > size - (uint64_t)offset)
        return uc_fail(err, UC_ECORRUPT, "patch: tensor %s lies outside", s->name);
    s->data = data + offset;
    s->size = (uint64_t)n;
    return 0;
}

int ta_streams_open(struct ta_streams *out, const struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *in;
    const uint8_t *data;
    uint64_t size;
    int rc = 0;

    memset(out, 0, sizeof(*out));
    out->n = uc_op_in_group(ctx, "stream/", &in);
    if (out->n == 0)
        return uc_fail(err, UC_EFAIL, "no coded tensor is given");
    out->patch = ta_patch_open(ctx, &data, &size, err);
    if (!out->patch)
        return err->code;
    out->s = uc_xcalloc(out->n, sizeof(*out->s));
    for (size_t i = 0; rc == 0 && i < out->n; i++) {
        struct ta_stream *s = &out->s[i];
        const json_t *entry;
        char *info;

        s->name = in[i].name + strlen("stream/");
        s->data = in[i].data;
        s->size = in[i].size;
        entry = json_object_get(json_object_get(out->patch, "tensors"), s->name);
        if (entry)
            rc = replace(s, entry, data, size, err);
        info = uc_xasprintf("info/%s", s->name);
        if (rc == 0 && (json_object_get(entry, "info") || uc_op_in_opt(ctx, info))) {
            s->info = ta_info(ctx, out->patch, s->name, err);
            rc = s->info ? 0 : err->code;
        }
        free(info);
    }
    if (rc < 0)
        ta_streams_close(out);
    return rc;
}

void ta_streams_close(struct ta_streams *s)
{
    for (size_t i = 0; i < s->n && s->s; i++)
        json_decref(s->s[i].info);
    free(s->s);
    json_decref(s->patch);
    memset(s, 0, sizeof(*s));
}
