/* The tensors of a model folder, in one file or in shards. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/mem.h"
#include "formats/safetensors.h"

#define INDEX_NAME "model.safetensors.index.json"

static bool exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

static int add_file(struct uc_st_set *set, const char *dir, const char *name, struct uc_err *err)
{
    char *path = uc_path_join(dir, name);
    int rc;

    set->st = uc_xrealloc(set->st, (set->n_files + 1) * sizeof(*set->st));
    set->paths = uc_xrealloc(set->paths, (set->n_files + 1) * sizeof(*set->paths));
    rc = uc_st_open(&set->st[set->n_files], path, err);
    if (rc < 0) {
        free(path);
        return rc;
    }
    set->paths[set->n_files++] = path;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct uc_st_entry *ea = a, *eb = b;

    return strcmp(ea->info->name, eb->info->name);
}

static int collect(struct uc_st_set *set, const char *dir, struct uc_err *err)
{
    size_t n = 0;

    for (size_t f = 0; f < set->n_files; f++)
        n += set->st[f].n_tensors;
    if (n == 0)
        return uc_fail(err, UC_EREFUSED, "%s: the checkpoint holds no tensors", dir);
    set->tensors = calloc(n, sizeof(*set->tensors));
    if (!set->tensors)
        return uc_fail(err, UC_ERESOURCE, "%s: no memory for %zu tensors", dir, n);
    for (size_t f = 0; f < set->n_files; f++)
        for (size_t i = 0; i < set->st[f].n_tensors; i++)
            set->tensors[set->n_tensors++] = (struct uc_st_entry){&set->st[f].tensors[i], f};
    qsort(set->tensors, n, sizeof(*set->tensors), by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(set->tensors[i - 1].info->name, set->tensors[i].info->name) == 0)
            return uc_fail(err, UC_EREFUSED, "%s and %s both hold tensor %s",
                           set->paths[set->tensors[i - 1].file], set->paths[set->tensors[i].file],
                           set->tensors[i].info->name);
    return 0;
}

static int cmp_str(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Opens every shard that the map names, in the order of their names. */
static int open_shards(struct uc_st_set *set, const char *dir, const char *path, json_t *map,
                       struct uc_err *err)
{
    size_t n = json_object_size(map), k = 0;
    const char **names = uc_xcalloc(n + 1, sizeof(*names)), *key;
    json_t *v;
    int rc = 0;

    json_object_foreach(map, key, v)
    {
        const char *file = json_string_value(v);
        if (!file || !*file || strchr(file, '/') || strchr(file, '\\') || file[0] == '.' ||
            strlen(file) != json_string_length(v)) {
            rc = uc_fail(err, UC_EREFUSED, "%s: tensor %s: \"%s\" is not a plain file name", path,
                         key, file ? file : "(not a string)");
            goto out;
        }
        names[k++] = file;
    }
    qsort(names, k, sizeof(*names), cmp_str);
    for (size_t i = 0; i < k && rc == 0; i++)
        if (i == 0 || strcmp(names[i - 1], names[i]))
            rc = add_file(set, dir, names[i], err);
out:
    free(names);
    return rc;
}

static int check_map(const struct uc_st_set *set, const char *path, json_t *map, struct uc_err *err)
{
    const char *key;
    json_t *v;

    json_object_foreach(map, key, v)
    {
        const struct uc_st_entry *e = uc_st_set_find(set, key);
        if (!e)
            return uc_fail(err, UC_EREFUSED, "%s: tensor %s is not in %s", path, key,
                           json_string_value(v));
        if (strcmp(uc_path_base(set->paths[e->file]), json_string_value(v)))
            return uc_fail(err, UC_EREFUSED, "%s: tensor %s is in %s, the index says %s", path, key,
                           set->paths[e->file], json_string_value(v));
    }
    for (size_t i = 0; i < set->n_tensors; i++)
        if (!json_object_get(map, set->tensors[i].info->name))
            return uc_fail(err, UC_EREFUSED, "%s: tensor %s of %s is not listed", path,
                           set->tensors[i].info->name, set->paths[set->tensors[i].file]);
    return 0;
}

static int check_total(const struct uc_st_set *set, const char *path, const json_t *root,
                       struct uc_err *err)
{
    const json_t *v = json_object_get(json_object_get(root, "metadata"), "total_size");
    uint64_t total = 0;

    for (size_t i = 0; i < set->n_tensors; i++)
        total += set->tensors[i].info->size;
    if (v && (!json_is_number(v) || json_number_value(v) != (double)total))
        return uc_fail(err, UC_EREFUSED, "%s: total_size is not the %llu bytes of its tensors",
                       path, (unsigned long long)total);
    return 0;
}

static int open_index(struct uc_st_set *set, const char *dir, const char *path, struct uc_err *err)
{
    json_t *root = uc_json_load(path, 0, err), *map;
    int rc;

    if (!root)
        return err ? err->code : UC_EFAIL;
    map = json_object_get(root, "weight_map");
    if (!json_is_object(map))
        rc = uc_fail(err, UC_EREFUSED, "%s: no weight_map", path);
    else
        rc = open_shards(set, dir, path, map, err);
    if (rc == 0)
        rc = collect(set, dir, err);
    if (rc == 0)
        rc = check_map(set, path, map, err);
    if (rc == 0)
        rc = check_total(set, path, root, err);
    json_decref(root);
    return rc;
}

static int no_weights(const char *dir, struct uc_err *err)
{
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                          "model.pt", "pytorch_model.pt"};

    if (!exists(dir))
        return uc_fail(err, UC_ENOTFOUND, "%s: no such folder", dir);
    for (size_t i = 0; i < UC_COUNT(pickles); i++) {
        char *p = uc_path_join(dir, pickles[i]);
        bool there = exists(p);
        free(p);
        if (there) {
            uc_fail(err, UC_EREFUSED, "%s: %s is a pickle, which can run code when it is read", dir,
                    pickles[i]);
            return uc_fix(err, "convert the checkpoint to model.safetensors first");
        }
    }
    uc_fail(err, UC_ENOTFOUND, "%s: neither model.safetensors nor " INDEX_NAME " is there", dir);
    return uc_fix(err, "name the folder of a Hugging Face checkpoint in safetensors");
}

int uc_st_set_open(struct uc_st_set *set, const char *dir, struct uc_err *err)
{
    char *one = uc_path_join(dir, "model.safetensors"), *index = uc_path_join(dir, INDEX_NAME);
    int rc;

    memset(set, 0, sizeof(*set));
    if (exists(one)) {
        rc = add_file(set, dir, "model.safetensors", err);
        if (rc == 0)
            rc = collect(set, dir, err);
    } else if (exists(index)) {
        rc = open_index(set, dir, index, err);
    } else {
        rc = no_weights(dir, err);
    }
    free(one);
    free(index);
    if (rc == UC_EREFUSED && err && !err->fix[0])
        uc_fix(err, "get the folder again: its files are damaged or do not belong together");
    if (rc < 0)
        uc_st_set_close(set);
    return rc;
}

void uc_st_set_close(struct uc_st_set *set)
{
    for (size_t f = 0; f < set->n_files; f++) {
        uc_st_close(&set->st[f]);
        free(set->paths[f]);
    }
    free(set->st);
    free(set->paths);
    free(set->tensors);
    memset(set, 0, sizeof(*set));
}

const struct uc_st_entry *uc_st_set_find(const struct uc_st_set *set, const char *name)
{
    const struct uc_tensor_info info = {.name = (char *)name};
    const struct uc_st_entry key = {.info = &info};

    if (!set->n_tensors)
        return NULL;
    return bsearch(&key, set->tensors, set->n_tensors, sizeof(key), by_name);
}
