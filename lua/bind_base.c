/* uc.fail, uc.nearest and other small helpers of the prelude. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "lua/host.h"
#include "lua/state.h"
#include "lua/value.h"

/* uc.fail(message, fix, kind): kind "usage" (the default) or "refused" decides the exit code. */
static int l_fail(lua_State *L)
{
    struct uc_err err = {0};
    int code = !strcmp(luaL_optstring(L, 3, "usage"), "refused") ? UC_EREFUSED : UC_EUSAGE;

    uc_fail(&err, code, "%s", luaL_checkstring(L, 1));
    uc_fix(&err, "%s", luaL_optstring(L, 2, ""));
    uc_lua_throw(L, &err);
}

/* uc.nearest(word, {candidates}): the one that was probably meant, or nil. */
static int l_nearest(lua_State *L)
{
    const char *word = luaL_checkstring(L, 1), **list, *near;
    size_t n;

    luaL_checktype(L, 2, LUA_TTABLE);
    n = lua_rawlen(L, 2);
    list = lua_newuserdatauv(L, (n + 1) * sizeof(*list), 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        list[i] = luaL_checkstring(L, -1); /* anchored by the table */
        lua_pop(L, 1);
    }
    near = uc_str_nearest(word, list, n);
    lua_pushstring(L, near);
    return 1;
}

/* uc.match("model.*.down_proj", name) */
static int l_match(lua_State *L)
{
    lua_pushboolean(L, uc_str_match(luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
    return 1;
}

/* uc.size("1.5 GB") -> bytes, or nil */
static int l_size(lua_State *L)
{
    int64_t n = uc_str_parse_size(luaL_checkstring(L, 1));

    if (n < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, n);
    return 1;
}

static int l_sets(lua_State *L)
{
    struct uc_plan_host *h = uc_host_of(L);

    lua_newtable(L);
    for (size_t i = 0; i < h->n_sets; i++) {
        lua_pushstring(L, h->sets[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* uc.json(value): canonical text, equal for equal values. */
static int l_json(lua_State *L)
{
    json_t *v = uc_lua_to_json(L, 1, "value");
    char *s = uc_json_canonical(v);

    lua_pushstring(L, s); /* may raise only when memory is gone, and then the state goes too */
    free(s);
    return 1;
}

static int l_path(lua_State *L)
{
    uc_host_path(L, 1);
    return 1;
}

/* Seconds, or nothing: what reproducible builds agreed on to fix dates with. */
static int l_source_date_epoch(lua_State *L)
{
    const char *s = getenv("SOURCE_DATE_EPOCH");
    char *end;
    long long v = s ? strtoll(s, &end, 10) : 0;

    if (!s || !*s)
        return 0;
    if (*end || v < 0)
        uc_lua_fail(L, "SOURCE_DATE_EPOCH is '%s', which is not a number of seconds", s);
    lua_pushinteger(L, v);
    return 1;
}

void uc_bind_base(lua_State *L)
{
    static const luaL_Reg funcs[] = {{"fail", l_fail},   {"nearest", l_nearest},
                                     {"match", l_match}, {"size", l_size},
                                     {"sets", l_sets},   {"json", l_json},
                                     {"path", l_path},   {"source_date_epoch", l_source_date_epoch},
                                     {NULL, NULL}};

    luaL_setfuncs(L, funcs, 0);
    lua_pushliteral(L, UC_VERSION);
    lua_setfield(L, -2, "version");
}
