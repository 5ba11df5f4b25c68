/* Runs an op as a worker would: inputs from memory, outputs into a scratch folder, read back. */
#ifndef UC_TESTS_OP_HARNESS_H
#define UC_TESTS_OP_HARNESS_H

#include <stdint.h>

#include "engine/op.h"
#include "formats/safetensors.h"

#define MAX_IO 512

struct op_run {
    struct uc_op_ctx ctx;
    struct uc_op_input in[MAX_IO];
    struct uc_op_output out[MAX_IO];
    char *dir;
    json_t *params;
    struct uc_err err;
    struct {
        char *name;
        char *data;
        size_t size;
    } result[MAX_IO];
};

/* params: JSON text. threads: width of the pool. Aborts the test on errors of the harness itself.
 */
struct op_run *op_new(const char *params, int threads);
void op_free(struct op_run *r);
/* Borrowed bytes; name is copied. */
void op_in(struct op_run *r, const char *name, const void *data, size_t size);
/* A tensor of a checkpoint, as the engine would hand it over. */
void op_in_tensor(struct op_run *r, const char *name, const struct uc_st *st, const char *tensor);
void op_out(struct op_run *r, const char *name);
/* The op's return value; on success every declared output must exist. */
int op_go(struct op_run *r, const char *op);
/* After op_go: an output's bytes. */
const void *op_result(const struct op_run *r, const char *name, size_t *size);

#endif
