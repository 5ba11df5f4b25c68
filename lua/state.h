/*
 * The sandboxed Lua host. A state has no io, os, debug, package, load or random numbers; text
 * chunks only; a memory cap in its allocator and a step limit by hook; tables are walked in sorted
 * order and nothing prints an address, so the same recipe gives the same plan byte for byte.
 *
 * Errors inside Lua are tables {code, msg, fix}, raised with uc_lua_throw; uc_lua_call turns them
 * into a struct uc_err whose message starts with the author's file and line.
 */
#ifndef UC_LUA_STATE_H
#define UC_LUA_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define UC_LUA_MEMORY ((size_t)256 << 20)
#define UC_LUA_STEPS  ((uint64_t)400000000)

struct uc_lua {
    lua_State *L;
    void *host;            /* of the bindings (struct uc_plan_host) */
    size_t used, cap;      /* bytes */
    uint64_t steps, limit; /* instructions */
    unsigned refused;      /* allocations that the cap refused */
    char where[300];       /* place of the last one: "recipe.lua:12", or empty */
    char trace[3000];      /* traceback of the last error, for -v */
};

/* cap, limit 0: the defaults above. NULL when memory is gone. */
struct uc_lua *uc_lua_new(size_t cap, uint64_t limit, void *host);
void uc_lua_free(struct uc_lua *lu);
struct uc_lua *uc_lua_of(lua_State *L);

/* Loads a text chunk; chunk names start with '@' for the author's files and with '=' for ours.
 * Pushes the function with the table at env as its _ENV. UC_EUSAGE: a syntax error. */
int uc_lua_load(struct uc_lua *lu, const char *text, size_t n, const char *chunk, int env,
                struct uc_err *err);
/* lua_pcall of the function and n_args arguments on the stack. */
int uc_lua_call(struct uc_lua *lu, int n_args, int n_results, struct uc_err *err);

/* "file:line" of the nearest frame of the author's own files; false (and "") when there is none. */
int uc_lua_where(lua_State *L, char *out, size_t n);
/* Raises err as it stands, with the author's place in front. Does not return. */
int uc_lua_throw(lua_State *L, const struct uc_err *err) __attribute__((noreturn));
/* Raises UC_EUSAGE. Does not return. */
int uc_lua_fail(lua_State *L, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));

/* sandbox.c: puts what a recipe may use of Lua's own libraries into the table on top. */
void uc_lua_open_safe(lua_State *L);
/* Pushes an array of t's keys: integers ascending, then strings in byte order. */
void uc_lua_sorted_keys(lua_State *L, int t);

#endif
