/* JSON values to Lua and back. JSON null and absent members are nil; integers stay integers. */
#ifndef UC_LUA_VALUE_H
#define UC_LUA_VALUE_H

#include <jansson.h>
#include <lua.h>

/* Pushes v's value. */
void uc_lua_push_json(lua_State *L, const json_t *v);
/* The value at i; what names it in messages. A sequence becomes an array, any other table (the
 * empty one too) an object. Raises on functions, handles, NaN, infinities and tables too deep. The
 * result is owned by the state (freed by collection), so that no raise can leak it; incref to keep.
 */
json_t *uc_lua_to_json(lua_State *L, int i, const char *what);

/* Pushes a box that owns v and frees it when the state no longer needs it. */
void uc_lua_own_json(lua_State *L, json_t *v);

#endif
