/*
 * What land hands to assemble and verify: the streams that replace others so that the file meets
 * its budget. u64 length of a JSON header, the header {"tensors": {name: {"offset", "size",
 * "info"}}}, then the streams; offsets count from the first byte after the header.
 */
#ifndef UC_OPS_TRACK_A_PATCH_H
#define UC_OPS_TRACK_A_PATCH_H

#include <jansson.h>

#include "engine/op.h"

/* One coded tensor as it goes into the file. */
struct ta_stream {
    const char *name; /* of the source tensor; borrowed */
    const uint8_t *data;
    uint64_t size;
    json_t *info; /* NULL when the op is not given it */
};

/* All of them, sorted by name: inputs "stream/<name>" or, where the patch holds it, its stream.
 * Infos are those of "info/<name>" or of the patch. */
struct ta_streams {
    struct ta_stream *s;
    size_t n;
    json_t *patch; /* owns the patch's infos */
};
int ta_streams_open(struct ta_streams *out, const struct uc_op_ctx *ctx, struct uc_err *err);
void ta_streams_close(struct ta_streams *s);
/* The final info of one tensor: from the patch, else from input "info/<name>". New reference; NULL
 * and err when there is none. patch may be NULL. */
json_t *ta_info(const struct uc_op_ctx *ctx, const json_t *patch, const char *name,
                struct uc_err *err);
/* The header of input "patch"; data: its first stream. */
json_t *ta_patch_open(const struct uc_op_ctx *ctx, const uint8_t **data, uint64_t *size,
                      struct uc_err *err);

#endif
