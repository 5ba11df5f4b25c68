/* What recipes get of Lua's own libraries, and the replacements that keep evaluation pure. */
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "lua/state.h"

static int key_rank(int type)
{
    return type == LUA_TNUMBER ? 0 : 1;
}

/* Is the key at a before the key at b? Numbers first, then strings by their bytes. */
static int key_before(lua_State *L, int a, int b)
{
    int ta = lua_type(L, a), tb = lua_type(L, b);
    size_t na, nb;

    if (ta != tb)
        return key_rank(ta) < key_rank(tb);
    if (ta == LUA_TNUMBER)
        return lua_compare(L, a, b, LUA_OPLT);
    const char *sa = lua_tolstring(L, a, &na), *sb = lua_tolstring(L, b, &nb);
    int d = memcmp(sa, sb, na < nb ? na : nb);
    return d ? d < 0 : na < nb;
}

/* Heap sort of the array on top: no recursion, no heap across a raise, order fixed by the keys. */
static void sift(lua_State *L, int arr, lua_Integer i, lua_Integer n)
{
    for (;;) {
        lua_Integer c = 2 * i;

        if (c > n)
            return;
        lua_rawgeti(L, arr, c);
        if (c < n) {
            lua_rawgeti(L, arr, c + 1);
            if (key_before(L, -2, -1)) {
                lua_remove(L, -2);
                c++;
            } else {
                lua_pop(L, 1);
            }
        }
        lua_rawgeti(L, arr, i);
        if (!key_before(L, -1, -2)) {
            lua_pop(L, 2);
            return;
        }
        lua_rawseti(L, arr, c);
        lua_rawseti(L, arr, i);
        i = c;
    }
}

void uc_lua_sorted_keys(lua_State *L, int t)
{
    lua_Integer n = 0;
    int arr;

    t = lua_absindex(L, t);
    lua_newtable(L);
    arr = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, t); lua_pop(L, 1)) {
        int type = lua_type(L, -2);

        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            uc_lua_fail(L, "a table with a %s as a key has no order in which it could be walked",
                        lua_typename(L, type));
        lua_pushvalue(L, -2);
        lua_rawseti(L, arr, ++n);
    }
    for (lua_Integer i = n / 2; i >= 1; i--)
        sift(L, arr, i, n);
    for (lua_Integer last = n; last > 1; last--) {
        lua_rawgeti(L, arr, 1);
        lua_rawgeti(L, arr, last);
        lua_rawseti(L, arr, 1);
        lua_rawseti(L, arr, last);
        sift(L, arr, 1, last - 1);
    }
}

/* Iterator of pairs: upvalues are the table, its sorted keys, the position. */
static int next_sorted(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));

    do {
        lua_rawgeti(L, lua_upvalueindex(2), ++i);
        if (lua_isnil(L, -1))
            return 1;
        lua_pushvalue(L, -1);
        lua_rawget(L, lua_upvalueindex(1));
        if (!lua_isnil(L, -1)) { /* nil: removed meanwhile */
            lua_pushinteger(L, i);
            lua_replace(L, lua_upvalueindex(3));
            return 2;
        }
        lua_pop(L, 2);
    } while (1);
}

static int safe_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, 1);
    uc_lua_sorted_keys(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_sorted, 3);
    return 1;
}

/* Text of a value that never shows an address. */
static void push_text(lua_State *L, int i)
{
    int type = lua_type(L, i);

    if (type == LUA_TTABLE || type == LUA_TUSERDATA) {
        if (luaL_getmetafield(L, i, "__tostring") != LUA_TNIL) {
            lua_pop(L, 1);
            luaL_tolstring(L, i, NULL);
            return;
        }
        if (luaL_getmetafield(L, i, "__name") == LUA_TSTRING)
            return;
        lua_pushstring(L, luaL_typename(L, i));
    } else if (type == LUA_TFUNCTION || type == LUA_TLIGHTUSERDATA || type == LUA_TTHREAD) {
        lua_pushstring(L, luaL_typename(L, i));
    } else {
        luaL_tolstring(L, i, NULL);
    }
}

static int safe_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    push_text(L, 1);
    return 1;
}

/* string.format with arguments that would print an address replaced by their text. */
static int safe_format(lua_State *L)
{
    int n = lua_gettop(L);
    const char *f = luaL_checkstring(L, 1);

    for (const char *p = f; (p = strchr(p, '%')); p += p[1] ? 2 : 1)
        if (p[1 + strspn(p + 1, "-+ #0123456789.")] == 'p')
            uc_lua_fail(L, "string.format: %%p would print an address");
    for (int i = 2; i <= n; i++) {
        int type = lua_type(L, i);

        if (type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA) {
            push_text(L, i);
            lua_replace(L, i);
        }
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, 1);
    return 1;
}

static int safe_setmetatable(lua_State *L)
{
    static const char *const refused[] = {"__gc", "__mode", "__close"};

    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_istable(L, 2)) {
        for (size_t i = 0; i < UC_COUNT(refused); i++) {
            lua_pushstring(L, refused[i]);
            if (lua_rawget(L, 2) != LUA_TNIL)
                uc_lua_fail(L, "setmetatable: %s is not available in a recipe", refused[i]);
            lua_pop(L, 1);
        }
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        uc_lua_fail(L, "setmetatable: this metatable is protected");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int say(lua_State *L)
{
    luaL_Buffer b;
    char where[300];
    int n = lua_gettop(L);

    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, ' ');
        push_text(L, i);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    uc_lua_where(L, where, sizeof(where));
    uc_info("%s: %s", where, lua_tostring(L, -1));
    return 0;
}

static void drop(lua_State *L, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        lua_pushnil(L);
        lua_setfield(L, -2, names[i]);
    }
}

static void open_lib(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
}

static void open_string(lua_State *L)
{
    static const char *const gone[] = {"dump"};

    open_lib(L, "string", luaopen_string);
    drop(L, gone, UC_COUNT(gone));
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, safe_format, 1);
    lua_setfield(L, -2, "format");
    lua_pushliteral(L, ""); /* strings share one metatable: keep recipes out of it */
    lua_getmetatable(L, -1);
    lua_pushliteral(L, "string");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void uc_lua_open_safe(lua_State *L)
{
    static const char *const base_gone[] = {"load",           "dofile", "loadfile", "require",
                                            "collectgarbage", "next",   "_G",       "warn"};
    static const char *const math_gone[] = {"random", "randomseed"};
    static const luaL_Reg own[] = {{"pairs", safe_pairs},
                                   {"tostring", safe_tostring},
                                   {"setmetatable", safe_setmetatable},
                                   {"print", say},
                                   {NULL, NULL}};
    int env = lua_gettop(L);

    open_lib(L, "_G", luaopen_base); /* fills and returns the state's own globals */
    drop(L, base_gone, UC_COUNT(base_gone));
    luaL_setfuncs(L, own, 0);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, env);
    }
    lua_pop(L, 1);
    open_string(L);
    lua_setfield(L, env, "string");
    open_lib(L, "table", luaopen_table);
    lua_setfield(L, env, "table");
    open_lib(L, "math", luaopen_math);
    drop(L, math_gone, UC_COUNT(math_gone));
    lua_setfield(L, env, "math");
    open_lib(L, "utf8", luaopen_utf8);
    lua_setfield(L, env, "utf8");
}
