/*
 * source_digests: the digests of all tensors of a checkpoint as one list, whatever files they lie
 * in. So a re-sharded checkpoint changes nothing behind this action.
 * inputs: digests/NNN (JSON of fingerprint)   output: digests, JSON {tensor: SHA-256}
 */
#include "base/json.h"
#include "engine/ops/blobs.h"
#include "engine/ops/registry.h"

static int run(struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *first;
    size_t n = uc_op_in_group(ctx, "digests/", &first);
    json_t *all = json_object();
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        json_t *one = uc_json_parse((const char *)first[i].data, first[i].size, first[i].name, err);

        if (!one)
            rc = err->code;
        else
            json_object_update(all, one);
        json_decref(one);
    }
    if (rc == 0)
        rc = uc_blob_put_json(ctx, "digests", all, err);
    json_decref(all);
    return rc;
}

const struct uc_op uc_op_source_digests = {
    .name = "source_digests",
    .version = 1,
    .summary = "the digests of a checkpoint's tensors, whatever files they lie in",
    .run = run,
};
