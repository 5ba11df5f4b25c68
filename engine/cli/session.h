/* What commands that work on a recipe share: the cache, the evaluated recipe, the chosen targets.
 */
#ifndef UC_CLI_SESSION_H
#define UC_CLI_SESSION_H

#include <jansson.h>

#include "cache/cache.h"
#include "engine/build.h"
#include "engine/cli/cli.h"
#include "lua/recipe.h"

struct uc_session {
    struct uc_cli *cli;
    struct uc_cache *cache;
    char *path; /* the recipe's file; NULL: text */
    char *text; /* the recipe of uc compress */
    const char **sets;
    size_t n_sets;
    const char **names; /* targets named on the command line */
    size_t n_names;
    struct uc_recipe recipe;
    bool loaded;
    const struct uc_target **targets;
    size_t n_targets;
};

/* Options of every command that reads a recipe; their names are "file" and "set". */
#define UC_RECIPE_OPTIONS                                                                          \
    {"file", 'f', UC_OPT_PATH, "FILE", "the recipe (default: uc.lua, else the only *.uc.lua)",     \
     NULL},                                                                                        \
    {                                                                                              \
        "set", 's', UC_OPT_LIST, "NAME=VALUE", "value of a param() of the recipe", NULL            \
    }

/* Finds the recipe among -f and the arguments (an argument that ends in .lua is the recipe, the
 * others name targets) and opens the cache. Loads nothing yet. */
int uc_session_open(struct uc_session *s, struct uc_cli *cli, struct uc_err *err);
/* The same for a recipe that is text (taken). */
int uc_session_open_text(struct uc_session *s, struct uc_cli *cli, char *text, struct uc_err *err);
/* Evaluates the recipe and looks up the targets: those named, else the default. */
int uc_session_load(struct uc_session *s, struct uc_err *err);
void uc_session_close(struct uc_session *s);

/* Canonical text of everything beside the recipe's files that its plan depends on. */
char *uc_session_params(const struct uc_session *s);
/* What the memo is named by: the recipe's path, or a name for text. */
const char *uc_session_recipe_name(const struct uc_session *s);
/* From -j and --memory. UC_ERESOURCE when --device names a GPU that is not there. */
int uc_session_build_opts(const struct uc_session *s, struct uc_build_opts *o, struct uc_err *err);

#endif
