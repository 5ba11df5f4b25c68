#include "model/dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* Is there an entry in the folder whose name fits the pattern? Its name, the first in byte order so
 * that messages do not depend on the file system; caller frees. */
static char *find_entry(const char *dir, const char *pattern)
{
    DIR *d = opendir(dir);
    char *best = NULL;

    for (struct dirent *e; d && (e = readdir(d));) {
        if (!uc_str_match(pattern, e->d_name) || (best && strcmp(e->d_name, best) >= 0))
            continue;
        free(best);
        best = uc_xstrdup(e->d_name);
    }
    if (d)
        closedir(d);
    return best;
}

/* What a folder without config.json or weights holds instead. */
static const struct sign {
    const char *pattern, *what, *fix;
} signs[] = {
    {"adapter_config.json", "holds an adapter (LoRA), not a model",
     "merge it into its base model first and save that in safetensors"},
    {"model_index.json", "holds a diffusion pipeline, not a language model", NULL},
    {"*.gguf", "holds a GGUF file", "turn it into a Hugging Face folder first: uc import FILE DIR"},
    {"pytorch_model*.bin", "holds pickles, which can run code when they are read",
     "convert the checkpoint to safetensors: load it with transformers and save_pretrained()"},
    {"*.pt", "holds pickles, which can run code when they are read",
     "convert the checkpoint to safetensors: load it with transformers and save_pretrained()"},
    {"*.ckpt", "holds pickles, which can run code when they are read",
     "convert the checkpoint to safetensors: load it with transformers and save_pretrained()"},
    {"tf_model.h5", "holds TensorFlow weights", "save the model in safetensors"},
};

static int refuse_sign(const char *path, const char *missing, struct uc_err *err)
{
    for (size_t i = 0; i < UC_COUNT(signs); i++) {
        char *name = find_entry(path, signs[i].pattern);
        if (!name)
            continue;
        uc_fail(err, UC_EREFUSED, "%s: no %s; the folder %s (%s)", path, missing, signs[i].what,
                name);
        free(name);
        return signs[i].fix ? uc_fix(err, "%s", signs[i].fix) : err ? err->code : UC_EREFUSED;
    }
    uc_fail(err, UC_ENOTFOUND, "%s: no %s in the folder", path, missing);
    return uc_fix(err, "name the folder of a Hugging Face checkpoint in safetensors");
}

static bool has_file(const char *dir, const char *name)
{
    char *p = uc_path_join(dir, name);
    struct stat st;
    bool there = stat(p, &st) == 0 && S_ISREG(st.st_mode);

    free(p);
    return there;
}

/* Files that other quantizers leave beside the weights. */
static int refuse_side_files(const char *path, struct uc_err *err)
{
    static const char *const files[] = {"quantize_config.json", "quant_config.json",
                                        "hf_quant_config.json"};

    for (size_t i = 0; i < UC_COUNT(files); i++) {
        if (!has_file(path, files[i]))
            continue;
        uc_fail(err, UC_EREFUSED, "%s: %s says that the model is already quantized", path,
                files[i]);
        return uc_fix(err, "start from the unquantized base model");
    }
    return 0;
}

static int check_folder(const char *path, struct uc_err *err)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        uc_fail_errno(err, "%s: model folder", path);
        return uc_fix(err, "check the path; it must be a folder with config.json");
    }
    if (!S_ISDIR(st.st_mode)) {
        uc_fail(err, UC_EREFUSED, "%s: is a file, a model is a folder", path);
        return uc_str_ends(path, ".gguf")
                   ? uc_fix(err, "turn it into a Hugging Face folder first: uc import FILE DIR")
                   : uc_fix(err, "name the folder that holds config.json");
    }
    if (!has_file(path, "config.json"))
        return refuse_sign(path, "config.json", err);
    return refuse_side_files(path, err);
}

static int read_config(struct uc_model_dir *m, enum uc_model_accept accept, struct uc_err *err)
{
    char *file = uc_path_join(m->path, "config.json");
    int rc;

    m->config = uc_json_load(file, 16u << 20, err);
    if (!m->config) {
        rc = err ? err->code : UC_EFAIL;
    } else {
        rc = accept == UC_MODEL_ANY ? uc_arch_from_config_any(m->config, &m->arch, err)
                                    : uc_arch_from_config(m->config, &m->arch, err);
        if (rc < 0)
            uc_within(err, "%s", file);
        m->coded = json_is_object(json_object_get(m->config, "quantization_config"));
    }
    free(file);
    return rc;
}

int uc_model_dir_open(struct uc_model_dir *m, const char *path, enum uc_model_accept accept,
                      struct uc_err *err)
{
    int rc;

    memset(m, 0, sizeof(*m));
    rc = check_folder(path, err);
    if (rc < 0)
        return rc;
    m->path = uc_xstrdup(path);
    rc = read_config(m, accept, err);
    if (rc == 0 && !has_file(path, "model.safetensors") &&
        !has_file(path, "model.safetensors.index.json"))
        rc = refuse_sign(path, "model.safetensors", err);
    if (rc == 0)
        rc = uc_st_set_open(&m->set, path, err);
    if (rc == 0)
        uc_arch_settle(m->arch, uc_st_set_find(&m->set, uc_arch_head_name(m->arch)) != NULL);
    if (rc == 0 && !m->coded) {
        rc = uc_arch_check_tensors(m->arch, &m->set, err);
        if (rc < 0)
            uc_within(err, "%s", path);
    }
    if (rc < 0)
        uc_model_dir_close(m);
    return rc;
}

void uc_model_dir_close(struct uc_model_dir *m)
{
    uc_st_set_close(&m->set);
    uc_arch_free(m->arch);
    json_decref(m->config);
    free(m->path);
    memset(m, 0, sizeof(*m));
}
