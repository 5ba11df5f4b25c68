#include "lua/recipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/fsio.h"
#include "base/mem.h"
#include "lua/host.h"
#include "lua/state.h"
#include "lua/value.h"

enum { MAX_RECIPE = 4 << 20 };

static void push_uc(lua_State *L)
{
    lua_newtable(L);
    uc_bind_base(L);
    uc_bind_files(L);
    uc_bind_graph(L);
    uc_bind_model(L);
}

static const struct uc_lua_chunk *find_chunk(const char *name)
{
    for (const struct uc_lua_chunk *c = uc_lua_chunks; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

/* use "uc/dsl.lua": runs a file of our own once and gives what it returned. Its upvalue is the
 * environment such files share: the safe libraries, `uc` and `use`. */
static int l_use(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const struct uc_lua_chunk *c = find_chunk(name);
    struct uc_err err = {0};

    lua_getfield(L, LUA_REGISTRYINDEX, "uc.used");
    if (lua_getfield(L, -1, name) != LUA_TNIL)
        return 1;
    if (!c)
        uc_lua_fail(L, "uc has no part '%s'", name);
    if (uc_lua_load(uc_lua_of(L), c->text, c->n, lua_pushfstring(L, "=%s", name),
                    lua_upvalueindex(1), &err) < 0)
        uc_lua_throw(L, &err);
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

/* uc.load(path, env): runs an author's file in env and gives what it returned. */
static int l_load_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct uc_err err = {0};
    char *data, *copy;
    size_t n;

    luaL_checktype(L, 2, LUA_TTABLE);
    if (uc_host_track(uc_host_of(L), path, &err) < 0 ||
        uc_read_file(path, MAX_RECIPE, &data, &n, &err) < 0) {
        err.code = UC_EUSAGE;
        uc_lua_throw(L, &err);
    }
    copy = lua_newuserdatauv(L, n + 1, 0); /* the state owns it before anything may raise */
    memcpy(copy, data, n);
    free(data);
    if (uc_lua_load(uc_lua_of(L), copy, n, lua_pushfstring(L, "@%s", path), 2, &err) < 0)
        uc_lua_throw(L, &err);
    lua_call(L, 0, 1);
    return 1;
}

static int l_load_text(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    struct uc_err err = {0};

    if (uc_lua_load(uc_lua_of(L), text, n, lua_pushfstring(L, "@%s", luaL_checkstring(L, 3)), 2,
                    &err) < 0)
        uc_lua_throw(L, &err);
    lua_call(L, 0, 1);
    return 1;
}

static int no_global(lua_State *L)
{
    uc_lua_fail(L, "uc's own Lua reads '%s', which is not defined", lua_tostring(L, 2));
}

/* Pushes the environment of our own Lua files. */
static void push_prelude(lua_State *L)
{
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "uc.used");
    lua_newtable(L);
    uc_lua_open_safe(L);
    push_uc(L);
    lua_pushcfunction(L, l_load_file);
    lua_setfield(L, -2, "load_file");
    lua_pushcfunction(L, l_load_text);
    lua_setfield(L, -2, "load_text");
    lua_setfield(L, -2, "uc");
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, l_use, 1);
    lua_setfield(L, -2, "use");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, no_global);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* Runs in protected mode: opens the state and hands the recipe to lua/uc/main.lua. Arguments: path
 * or nil, text or nil, name. */
static int evaluate(lua_State *L)
{
    push_prelude(L);
    lua_getfield(L, -1, "use");
    lua_pushliteral(L, "uc/main.lua");
    lua_call(L, 1, 1);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_call(L, 3, 0);
    return 0;
}

static void free_files(struct uc_memo_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((char *)files[i].path);
    free(files);
}

int uc_recipe_load(const struct uc_recipe_opts *opts, struct uc_recipe *r, struct uc_err *err)
{
    struct uc_plan_host host = {
        .graph = &r->graph, .cache = opts->cache, .sets = opts->sets, .n_sets = opts->n_sets};
    struct uc_lua *lu;
    int rc;

    memset(r, 0, sizeof(*r));
    uc_graph_init(&r->graph);
    lu = uc_lua_new(opts->memory, opts->steps, &host);
    if (!lu)
        rc = uc_fail(err, UC_ERESOURCE, "no memory for the recipe");
    else {
        lua_pushcfunction(lu->L, evaluate);
        lua_pushstring(lu->L, opts->path);
        lua_pushstring(lu->L, opts->text);
        lua_pushstring(lu->L, opts->name);
        rc = uc_lua_call(lu, 3, 0, err);
    }
    uc_lua_free(lu);
    r->files = host.files;
    r->n_files = host.n_files;
    r->memo_ok = !host.untrusted;
    if (rc < 0)
        uc_recipe_release(r);
    return rc;
}

void uc_recipe_release(struct uc_recipe *r)
{
    free_files(r->files, r->n_files);
    uc_graph_release(&r->graph);
    memset(r, 0, sizeof(*r));
}

/* Runs in protected mode: recipes/compress.lua makes text of the options at 1. */
static int write_compress(lua_State *L)
{
    push_prelude(L);
    lua_getfield(L, -1, "use");
    lua_pushliteral(L, "recipes/compress.lua");
    lua_call(L, 1, 1);
    uc_lua_push_json(L, lua_touserdata(L, 1));
    lua_call(L, 1, 1);
    luaL_checkstring(L, -1);
    return 1;
}

int uc_recipe_of_compress(const json_t *options, char **text, struct uc_err *err)
{
    struct uc_plan_host host = {0};
    struct uc_lua *lu = uc_lua_new(0, 0, &host);
    int rc;

    *text = NULL;
    if (!lu)
        return uc_fail(err, UC_ERESOURCE, "no memory for the recipe");
    lua_pushcfunction(lu->L, write_compress);
    lua_pushlightuserdata(lu->L, (void *)options);
    rc = uc_lua_call(lu, 1, 1, err);
    if (rc == 0)
        *text = uc_xstrdup(lua_tostring(lu->L, -1));
    uc_lua_free(lu);
    return rc;
}
