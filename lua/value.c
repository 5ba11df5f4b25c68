#include "lua/value.h"

#include <math.h>
#include <string.h>

#include "lua/state.h"

enum { MAX_DEPTH = 40 };

void uc_lua_push_json(lua_State *L, const json_t *v)
{
    const char *name;
    json_t *member;
    size_t i;

    luaL_checkstack(L, 4, "JSON is nested too deep");
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        lua_createtable(L, 0, (int)json_object_size(v));
        json_object_foreach((json_t *)v, name, member)
        {
            uc_lua_push_json(L, member);
            lua_setfield(L, -2, name);
        }
        break;
    case JSON_ARRAY:
        lua_createtable(L, (int)json_array_size(v), 0);
        json_array_foreach(v, i, member)
        {
            uc_lua_push_json(L, member);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(v));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(v));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(v));
        break;
    case JSON_NULL:
        lua_pushnil(L);
        break;
    }
}

/* A box that owns a json_t until the collector finds it unused. */
static int box_gc(lua_State *L)
{
    json_t **box = luaL_checkudata(L, 1, "uc.json");

    json_decref(*box);
    *box = NULL;
    return 0;
}

static json_t *put(json_t *parent, const char *name, json_t *v)
{
    if (name)
        json_object_set_new(parent, name, v);
    else
        json_array_append_new(parent, v);
    return v;
}

static void convert(lua_State *L, int i, json_t *parent, const char *name, const char *what,
                    int depth);

static void convert_table(lua_State *L, int i, json_t *parent, const char *name, const char *what,
                          int depth)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, i);
    json_t *out;

    if (depth > MAX_DEPTH)
        uc_lua_fail(L, "%s is nested too deep", what);
    out = put(parent, name, n ? json_array() : json_object());
    luaL_checkstack(L, 6, what);
    if (n) {
        for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1))
            if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > n)
                uc_lua_fail(L, "%s mixes a list with named values", what);
        for (lua_Integer k = 1; k <= n; k++) {
            lua_rawgeti(L, i, k);
            convert(L, lua_gettop(L), out, NULL, what, depth + 1);
            lua_pop(L, 1);
        }
        return;
    }
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            uc_lua_fail(L, "%s has a name that is not text", what);
        convert(L, lua_gettop(L), out, lua_tostring(L, -2), what, depth + 1);
    }
}

static void convert(lua_State *L, int i, json_t *parent, const char *name, const char *what,
                    int depth)
{
    const char *s;
    json_t *v = NULL;
    size_t n;

    switch (lua_type(L, i)) {
    case LUA_TTABLE:
        convert_table(L, i, parent, name, what, depth);
        return;
    case LUA_TSTRING:
        s = lua_tolstring(L, i, &n);
        v = json_stringn(s, n);
        if (!v)
            uc_lua_fail(L, "%s holds text that is not UTF-8", what);
        break;
    case LUA_TNUMBER:
        if (!lua_isinteger(L, i) && !isfinite(lua_tonumber(L, i)))
            uc_lua_fail(L, "%s holds a number that is not finite", what);
        v = lua_isinteger(L, i) ? json_integer(lua_tointeger(L, i)) : json_real(lua_tonumber(L, i));
        break;
    case LUA_TBOOLEAN:
        v = json_boolean(lua_toboolean(L, i));
        break;
    default:
        uc_lua_fail(L, "%s holds a %s, which is not a plain value", what, luaL_typename(L, i));
    }
    put(parent, name, v);
}

static json_t **push_box(lua_State *L)
{
    json_t **box = lua_newuserdatauv(L, sizeof(*box), 0);

    *box = NULL;
    if (luaL_newmetatable(L, "uc.json")) {
        lua_pushcfunction(L, box_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return box;
}

void uc_lua_own_json(lua_State *L, json_t *v)
{
    json_t **box = push_box(L);

    *box = v;
}

json_t *uc_lua_to_json(lua_State *L, int i, const char *what)
{
    json_t **box;

    i = lua_absindex(L, i);
    box = push_box(L);
    *box = json_array(); /* of one: every piece hangs on it before the next call that may raise */
    convert(L, i, *box, NULL, what, 0);
    return json_array_get(*box, 0);
}
