/* From a recipe to the graph it means. */
#ifndef UC_LUA_RECIPE_H
#define UC_LUA_RECIPE_H

#include <stdbool.h>

#include "cache/cache.h"
#include "engine/graph.h"
#include "engine/memo.h"

struct uc_recipe_opts {
    const char *path;        /* the recipe's file */
    const char *text;        /* or, when path is NULL, its text; relative paths count from here */
    const char *name;        /* of the text, in messages */
    const char *const *sets; /* "name=value" for the recipe's param() calls */
    size_t n_sets;
    struct uc_cache *cache;
    size_t memory; /* limits of the sandbox; 0: uc_lua_new's defaults */
    uint64_t steps;
};

struct uc_recipe {
    struct uc_graph graph;
    struct uc_memo_file *files; /* everything that was read, with the identity it had */
    size_t n_files;
    bool memo_ok; /* false: an identity among files cannot be trusted */
};

/* Evaluates a recipe. Messages start with the author's file and line. On failure nothing is held.
 * UC_EUSAGE: the recipe is wrong; UC_EREFUSED: the model it names is not supported. */
int uc_recipe_load(const struct uc_recipe_opts *opts, struct uc_recipe *r, struct uc_err *err);
void uc_recipe_release(struct uc_recipe *r);

/* Text of a recipe that does what `uc compress` with these options does. options: object, see
 * recipes/compress.lua. Caller frees *text. */
int uc_recipe_of_compress(const json_t *options, char **text, struct uc_err *err);

#endif
