/*
 * What the bindings share while one recipe is evaluated: the graph that grows, the cache that knows
 * files' digests, and the list of every file that was read (the memo's inputs).
 */
#ifndef UC_LUA_HOST_H
#define UC_LUA_HOST_H

#include <lua.h>

#include "cache/cache.h"
#include "engine/graph.h"
#include "engine/memo.h"

struct uc_plan_host {
    struct uc_graph *graph;
    struct uc_cache *cache;
    const char *const *sets; /* "name=value", as given on the command line */
    size_t n_sets;
    struct uc_memo_file *files; /* read so far; paths are heap strings */
    bool untrusted; /* a file's identity cannot vouch for it: the plan must not be memoized */
    size_t n_files, cap_files;
};

struct uc_plan_host *uc_host_of(lua_State *L);
/* Notes that path was looked at, with its identity; a file that does not exist counts too. */
int uc_host_track(struct uc_plan_host *h, const char *path, struct uc_err *err);
/* uc.path, the only binding that does this: the path at stack position i as seen from the working
 * folder: names in a recipe count from the folder of the file they stand in, values given with
 * --set from the working folder. All other bindings take what it gives. Pushes the result and
 * returns it. */
const char *uc_host_path(lua_State *L, int i);

/* Handles (userdata). A ref's strings belong to the graph. */
struct uc_ref *uc_lua_check_ref(lua_State *L, int i);
void uc_lua_push_ref(lua_State *L, const struct uc_ref *ref);

/* Tables of functions for `uc`: each adds its functions to the table on top. */
void uc_bind_base(lua_State *L);  /* fail, nearest, match, size, sets, json, path, version */
void uc_bind_files(lua_State *L); /* file, inline, read, exists, glob, license_file */
void uc_bind_graph(lua_State *L); /* action, tensor, target, default_target, bytes */
void uc_bind_model(lua_State *L); /* model, slices */

/* Lua files that are part of the program (made by tools/embed_lua). */
struct uc_lua_chunk {
    const char *name; /* "uc/dsl.lua" */
    const char *text;
    size_t n;
};
extern const struct uc_lua_chunk uc_lua_chunks[]; /* name NULL ends it */

#endif
