#include "lua/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

enum { HOOK_EVERY = 1000, MAX_REFUSED = 8 };

/* lua_getstack and lua_getinfo only read, so they may be used inside the allocator, whose refusal
 * runs no message handler. */
static void *limited_alloc(void *ud, void *p, size_t old, size_t n)
{
    struct uc_lua *lu = ud;
    void *q;

    if (!p)
        old = 0; /* a type tag then */
    if (!n) {
        free(p);
        lu->used -= old;
        return NULL;
    }
    if (n > old && (n - old > lu->cap || lu->used > lu->cap - (n - old))) {
        char where[sizeof(lu->where)];

        lu->refused++;
        if (lu->L && uc_lua_where(lu->L, where, sizeof(where))) /* not while it unwinds */
            memcpy(lu->where, where, sizeof(where));
        return NULL;
    }
    q = realloc(p, n);
    if (q)
        lu->used += n - old;
    return q;
}

static int too_big(const struct uc_lua *lu, const char *where, struct uc_err *err)
{
    uc_fail(err, UC_EUSAGE, "%s%sthe recipe needs more than the %zu MB that it may use", where,
            where[0] ? ": " : "", lu->cap >> 20);
    return uc_fix(err, "build smaller strings and tables");
}

static void count_steps(lua_State *L, lua_Debug *ar)
{
    struct uc_lua *lu = uc_lua_of(L);
    struct uc_err err = {0};

    if (lu->refused > MAX_REFUSED) { /* near the cap every allocation collects everything first */
        too_big(lu, "", &err);
        uc_lua_throw(L, &err);
    }
    lu->steps += HOOK_EVERY;
    if (lu->steps <= lu->limit)
        return;
    lua_sethook(L, count_steps, LUA_MASKCOUNT, 1); /* no pcall may swallow it */
    uc_lua_fail(L, "the recipe does not end: it was stopped after %llu steps",
                (unsigned long long)lu->limit);
}

static int panic(lua_State *L)
{
    fprintf(stderr, "uc: Lua error outside a protected call\n");
    return 0;
}

struct uc_lua *uc_lua_new(size_t cap, uint64_t limit, void *host)
{
    struct uc_lua *lu = calloc(1, sizeof(*lu));

    if (!lu)
        return NULL;
    lu->cap = cap ? cap : UC_LUA_MEMORY;
    lu->limit = limit ? limit : UC_LUA_STEPS;
    lu->host = host;
    lu->L = lua_newstate(limited_alloc, lu);
    if (!lu->L) {
        free(lu);
        return NULL;
    }
    lua_atpanic(lu->L, panic);
    lua_sethook(lu->L, count_steps, LUA_MASKCOUNT, HOOK_EVERY);
    return lu;
}

void uc_lua_free(struct uc_lua *lu)
{
    if (!lu)
        return;
    lua_close(lu->L);
    free(lu);
}

struct uc_lua *uc_lua_of(lua_State *L)
{
    void *ud;

    lua_getallocf(L, &ud);
    return ud;
}

int uc_lua_where(lua_State *L, char *out, size_t n)
{
    lua_Debug ar;

    *out = 0;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] == '@' && ar.currentline > 0) {
            snprintf(out, n, "%s:%d", ar.source + 1, ar.currentline);
            return 1;
        }
    }
    return 0;
}

static void push_err(lua_State *L, const struct uc_err *err)
{
    char where[300];

    lua_createtable(L, 0, 3);
    lua_pushinteger(L, err->code);
    lua_setfield(L, -2, "code");
    if (uc_lua_where(L, where, sizeof(where)))
        lua_pushfstring(L, "%s: %s", where, err->msg);
    else
        lua_pushstring(L, err->msg);
    lua_setfield(L, -2, "msg");
    lua_pushstring(L, err->fix);
    lua_setfield(L, -2, "fix");
}

int uc_lua_throw(lua_State *L, const struct uc_err *err)
{
    push_err(L, err);
    lua_error(L);
    abort(); /* not reached: lua_error does not return */
}

int uc_lua_fail(lua_State *L, const char *fmt, ...)
{
    struct uc_err err = {0};
    va_list ap;

    va_start(ap, fmt);
    uc_vfail(&err, UC_EUSAGE, fmt, ap);
    va_end(ap);
    uc_lua_throw(L, &err);
}

static int on_error(lua_State *L)
{
    struct uc_lua *lu = uc_lua_of(L);
    struct uc_err err = {0};

    luaL_traceback(L, L, NULL, 1);
    snprintf(lu->trace, sizeof(lu->trace), "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    if (lua_istable(L, 1)) /* ours: it knows its place already */
        return 1;
    /* a fault that Lua itself found: its text starts with the place of the innermost chunk */
    uc_fail(&err, UC_EUSAGE, "%s", luaL_tolstring(L, 1, NULL));
    char where[300];
    if (uc_lua_where(L, where, sizeof(where)) && uc_str_starts(err.msg, where))
        memmove(err.msg, err.msg + strlen(where) + 2, strlen(err.msg + strlen(where) + 2) + 1);
    push_err(L, &err);
    return 1;
}

int uc_lua_load(struct uc_lua *lu, const char *text, size_t n, const char *chunk, int env,
                struct uc_err *err)
{
    lua_State *L = lu->L;

    env = lua_absindex(L, env);
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        text += 3;
        n -= 3;
    }
    if (luaL_loadbufferx(L, text, n, chunk, "t") != LUA_OK) {
        uc_fail(err, UC_EUSAGE, "%s", lua_tostring(L, -1));
        lua_pop(L, 1);
        return uc_fix(err, "recipes are Lua 5.4 text; docs/recipes.md shows the words they use");
    }
    lua_pushvalue(L, env);
    lua_setupvalue(L, -2, 1);
    return 0;
}

/* Turns the error value on top into err, and pops it. */
static int take_err(struct uc_lua *lu, int status, struct uc_err *err)
{
    lua_State *L = lu->L;
    int code = UC_EUSAGE;

    if (status == LUA_ERRMEM) {
        lua_pop(L, 1);
        return too_big(lu, lu->where, err);
    }
    if (!lua_istable(L, -1)) {
        uc_fail(err, code, "%s", luaL_tolstring(L, -1, NULL));
        lua_pop(L, 2);
        return code;
    }
    if (lua_getfield(L, -1, "code") == LUA_TNUMBER)
        code = (int)lua_tointeger(L, -1);
    lua_getfield(L, -2, "msg");
    uc_fail(err, code, "%s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "the recipe failed");
    if (lua_getfield(L, -3, "fix") == LUA_TSTRING)
        uc_fix(err, "%s", lua_tostring(L, -1));
    lua_pop(L, 4);
    return code;
}

int uc_lua_call(struct uc_lua *lu, int n_args, int n_results, struct uc_err *err)
{
    lua_State *L = lu->L;
    int at = lua_gettop(L) - n_args, status;

    lua_pushcfunction(L, on_error);
    lua_insert(L, at);
    lu->trace[0] = 0;
    status = lua_pcall(L, n_args, n_results, at);
    lua_remove(L, at);
    if (status == LUA_OK)
        return 0;
    take_err(lu, status, err);
    if (lu->trace[0])
        uc_debug("%s", lu->trace);
    return err->code;
}
