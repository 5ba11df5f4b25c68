/* uc.model: everything about a checkpoint that stands in config.json and the headers. uc.slices:
 * a calibration or evaluation text cut into shards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "formats/jsonl.h"
#include "lua/host.h"
#include "lua/state.h"
#include "lua/value.h"
#include "model/dir.h"

static int model_gc(lua_State *L)
{
    struct uc_model_dir *m = lua_touserdata(L, 1);

    if (m->path)
        uc_model_dir_close(m);
    m->path = NULL;
    return 0;
}

static void push_tensor(lua_State *L, const struct uc_st_set *set, const struct uc_st_entry *e)
{
    lua_Integer numel = 1;

    lua_createtable(L, 0, 7);
    lua_pushstring(L, e->info->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, set->paths[e->file]);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, uc_dtype_name(e->info->dtype));
    lua_setfield(L, -2, "dtype");
    lua_pushinteger(L, (lua_Integer)e->info->offset);
    lua_setfield(L, -2, "offset");
    lua_pushinteger(L, (lua_Integer)e->info->size);
    lua_setfield(L, -2, "size");
    lua_createtable(L, e->info->n_dim, 0);
    for (int i = 0; i < e->info->n_dim; i++) {
        lua_pushinteger(L, (lua_Integer)e->info->shape[i]);
        lua_rawseti(L, -2, i + 1);
        numel *= (lua_Integer)e->info->shape[i];
    }
    lua_setfield(L, -2, "shape");
    lua_pushinteger(L, numel);
    lua_setfield(L, -2, "numel");
}

static void push_tensors(lua_State *L, const struct uc_model_dir *m)
{
    lua_createtable(L, 0, (int)m->set.n_tensors);
    for (size_t i = 0; i < m->set.n_tensors; i++) {
        const struct uc_st_entry *e = &m->set.tensors[i];

        if (uc_arch_ignores(m->arch, e->info->name))
            continue;
        push_tensor(L, &m->set, e);
        lua_setfield(L, -2, e->info->name);
    }
}

static void track(lua_State *L, const char *path)
{
    struct uc_err err = {0};

    if (uc_host_track(uc_host_of(L), path, &err) < 0)
        uc_lua_throw(L, &err);
}

/* uc.model(dir): the description of uc_arch_describe, and dir, config, tensors, files (the
 * checkpoint's paths). Headers are read, weights are not. */
static int l_model(lua_State *L)
{
    const char *dir = luaL_checkstring(L, 1);
    struct uc_model_dir *m;
    struct uc_err err = {0};
    int out;

    track(L, dir);
    track(L, lua_pushfstring(L, "%s/config.json", dir));
    track(L, lua_pushfstring(L, "%s/model.safetensors.index.json", dir));
    m = lua_newuserdatauv(L, sizeof(*m), 0);
    memset(m, 0, sizeof(*m));
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, model_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    if (uc_model_dir_open(m, dir, UC_MODEL_SOURCE, &err) < 0) {
        m->path = NULL;
        if (err.code == UC_ENOTFOUND) /* the recipe names what is not there */
            err.code = UC_EUSAGE;
        if (!err.fix[0])
            uc_fix(&err, "the checkpoint is damaged or incomplete: get it again");
        uc_lua_throw(L, &err);
    }
    json_t *d = uc_arch_describe(m->arch);
    uc_lua_push_json(L, d);
    json_decref(d);
    out = lua_gettop(L);
    lua_pushvalue(L, 1);
    lua_setfield(L, out, "dir");
    uc_lua_push_json(L, m->config);
    lua_setfield(L, out, "config");
    push_tensors(L, m);
    lua_setfield(L, out, "tensors");
    lua_newtable(L);
    for (size_t i = 0; i < m->set.n_files; i++) {
        track(L, m->set.paths[i]);
        lua_pushstring(L, m->set.paths[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, out, "files");
    uc_model_dir_close(m);
    m->path = NULL;
    return 1;
}

/* uc.slices(path, "text" or "jsonl", shard_bytes): { { ref, bytes }, ... }; shard_bytes 0: one. */
static int l_slices(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    int format = uc_text_format_parse(luaL_checkstring(L, 2));
    uint64_t shard_bytes = (uint64_t)luaL_checkinteger(L, 3);
    struct uc_plan_host *h = uc_host_of(L);
    struct uc_text_slice *slices, *copy;
    struct uc_err err = {0};
    size_t n;

    if (format < 0)
        uc_lua_fail(L, "uc.slices: there is no text format '%s'", lua_tostring(L, 2));
    track(L, path);
    if (uc_text_slices(path, (enum uc_text_format)format, shard_bytes, &slices, &n, &err) < 0)
        uc_lua_throw(L, &err);
    copy = lua_newuserdatauv(L, n * sizeof(*copy) + 1, 0); /* owned before anything may raise */
    memcpy(copy, slices, n * sizeof(*copy));
    free(slices);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        struct uc_ref ref = {.kind = UC_REF_SLICE,
                             .offset = copy[i].offset,
                             .size = copy[i].size,
                             .digest = copy[i].digest};

        ref.path = uc_arena_strdup(&h->graph->arena, path);
        lua_createtable(L, 0, 2);
        uc_lua_push_ref(L, &ref);
        lua_setfield(L, -2, "ref");
        lua_pushinteger(L, (lua_Integer)ref.size);
        lua_setfield(L, -2, "bytes");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

void uc_bind_model(lua_State *L)
{
    static const luaL_Reg funcs[] = {{"model", l_model}, {"slices", l_slices}, {NULL, NULL}};

    luaL_setfuncs(L, funcs, 0);
}
