/* A model folder: config.json, the checkpoint's headers, the architecture. Weights stay on disk. */
#ifndef UC_MODEL_DIR_H
#define UC_MODEL_DIR_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "formats/safetensors.h"
#include "model/arch.h"

/* Suffix of the U8 tensor that holds a coded weight in an artifact. */
#define UC_CODED_SUFFIX ".uca"
/* U8 tensor of zeros that fills an artifact's file up to its budget; no weight. */
#define UC_PAD_TENSOR "uc.pad"

enum uc_model_accept {
    UC_MODEL_SOURCE, /* unquantized checkpoints; all tensors are checked against config.json */
    UC_MODEL_ANY,    /* also artifacts of our own, whose coded tensors are checked when read */
};

struct uc_model_dir {
    char *path;
    json_t *config;
    struct uc_arch *arch;
    struct uc_st_set set;
    bool coded; /* an artifact of ours: its config.json holds our quantization_config */
};

/*
 * Reads config.json and the headers. Errors name the folder, say what lies there instead (a pickle,
 * a GGUF file, an adapter, nothing) and what to do: UC_ENOTFOUND, UC_EREFUSED, UC_EFAIL. On failure
 * nothing is held.
 */
int uc_model_dir_open(struct uc_model_dir *m, const char *path, enum uc_model_accept accept,
                      struct uc_err *err);
void uc_model_dir_close(struct uc_model_dir *m);

#endif
