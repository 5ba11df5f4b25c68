/* Files that a recipe names: each one that is looked at becomes a tracked input of the plan. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "lua/host.h"
#include "lua/state.h"
#include "lua/value.h"

#include <lfs.h> /* needs lua.h before it */

enum { MAX_READ = 1 << 20 };

struct uc_plan_host *uc_host_of(lua_State *L)
{
    return uc_lua_of(L)->host;
}

static void add_file(struct uc_plan_host *h, const char *path, const struct uc_fident *ident)
{
    for (size_t i = 0; i < h->n_files; i++)
        if (!strcmp(h->files[i].path, path))
            return;
    if (h->n_files == h->cap_files) {
        h->cap_files = h->cap_files ? 2 * h->cap_files : 32;
        h->files = uc_xrealloc(h->files, h->cap_files * sizeof(*h->files));
    }
    h->files[h->n_files].path = uc_xstrdup(path);
    h->files[h->n_files++].ident = *ident;
}

int uc_host_track(struct uc_plan_host *h, const char *path, struct uc_err *err)
{
    struct uc_fident ident = {0};
    bool trusted = true;
    int rc = 0;

    if (access(path, F_OK) == 0)
        rc = uc_cache_ident(h->cache, path, &ident, &trusted, err);
    if (rc < 0)
        return rc;
    h->untrusted |= !trusted;
    add_file(h, path, &ident);
    return 0;
}

/* a/b/../c -> a/c, ./a -> a; leading ".." stay. out: strlen(in) + 2 bytes. */
static void tidy_path(const char *in, char *out)
{
    char *start = out, *floor;

    if (*in == '/')
        *out++ = '/';
    for (floor = out; *in; in += strspn(in, "/")) {
        size_t n = strcspn(in, "/");
        bool up = n == 2 && !memcmp(in, "..", 2);

        if (up && out > floor) {
            for (out--; out > floor && out[-1] != '/'; out--)
                ;
        } else if (n && !(n == 1 && *in == '.')) {
            memcpy(out, in, n);
            out[n] = '/';
            out += n + 1;
            if (up)
                floor = out;
        }
        in += n;
    }
    if (out > start + 1 && out[-1] == '/')
        out--;
    if (out == start)
        *out++ = '.';
    *out = 0;
}

static bool from_command_line(const struct uc_plan_host *h, const char *value)
{
    for (size_t i = 0; i < h->n_sets; i++) {
        const char *eq = strchr(h->sets[i], '=');

        if (eq && !strcmp(eq + 1, value))
            return true;
    }
    return false;
}

const char *uc_host_path(lua_State *L, int i)
{
    const char *path = luaL_checkstring(L, i), *slash;
    lua_Debug ar;
    char *copy;

    ar.source = "";
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "S", &ar);
        if (ar.source[0] == '@')
            break;
        ar.source = "";
    }
    slash = ar.source[0] == '@' ? strrchr(ar.source, '/') : NULL;
    if (path[0] == '/' || !slash || from_command_line(uc_host_of(L), path))
        lua_pushstring(L, path);
    else
        lua_pushfstring(L, "%s/%s",
                        lua_pushlstring(L, ar.source + 1, (size_t)(slash - ar.source) - 1), path);
    path = lua_tostring(L, -1);
    copy = lua_newuserdatauv(L, strlen(path) + 2, 0);
    tidy_path(path, copy);
    return lua_pushstring(L, copy);
}

static void must(lua_State *L, int rc, const struct uc_err *err)
{
    if (rc < 0)
        uc_lua_throw(L, err);
}

/* Fails the way an author understands: the file that the recipe names is not there. */
static void must_exist(lua_State *L, const char *path, const char *what)
{
    struct uc_err err = {0};

    if (access(path, R_OK) == 0)
        return;
    if (access(path, F_OK) == 0) {
        uc_fail(&err, UC_EUSAGE, "%s %s cannot be read", what, path);
        uc_lua_throw(L, &err);
    }
    uc_fail(&err, UC_EUSAGE, "%s %s does not exist", what, path);
    uc_fix(&err, "paths in a recipe count from the recipe's folder, paths on the command line from "
                 "the current one");
    uc_lua_throw(L, &err);
}

/* uc.file(path): a reference to the whole file. */
static int l_file(lua_State *L)
{
    struct uc_plan_host *h = uc_host_of(L);
    struct uc_ref ref = {.kind = UC_REF_SLICE};
    struct uc_fident ident;
    struct uc_err err = {0};
    const char *path = luaL_checkstring(L, 1);

    must_exist(L, path, "file");
    must(L, uc_host_track(h, path, &err), &err);
    must(L, uc_cache_file_digest(h->cache, path, &ref.digest, &ident, &err), &err);
    ref.path = uc_arena_strdup(&h->graph->arena, path);
    ref.size = ident.size;
    uc_lua_push_ref(L, &ref);
    return 1;
}

/* uc.inline(text): a reference to bytes of the recipe itself. */
static int l_inline(lua_State *L)
{
    struct uc_plan_host *h = uc_host_of(L);
    struct uc_ref ref = {.kind = UC_REF_INLINE};
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    void *copy = uc_arena_alloc(&h->graph->arena, n ? n : 1);

    memcpy(copy, s, n);
    ref.data = copy;
    ref.size = n;
    uc_digest_of(s, n, &ref.digest);
    uc_lua_push_ref(L, &ref);
    return 1;
}

/* uc.read(path): text of a small file. */
static int l_read(lua_State *L)
{
    struct uc_plan_host *h = uc_host_of(L);
    const char *path = luaL_checkstring(L, 1);
    struct uc_err err = {0};
    char *data;
    size_t n;

    must_exist(L, path, "file");
    must(L, uc_host_track(h, path, &err), &err);
    must(L, uc_read_file(path, MAX_READ, &data, &n, &err), &err);
    char *copy = lua_newuserdatauv(L, n + 1, 0); /* owned by the state before anything may raise */
    memcpy(copy, data, n);
    free(data);
    lua_pushlstring(L, copy, n);
    return 1;
}

/* uc.read_json(path): value of a small JSON file. */
static int l_read_json(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct uc_err err = {0};
    json_t *v;

    must_exist(L, path, "file");
    must(L, uc_host_track(uc_host_of(L), path, &err), &err);
    v = uc_json_load(path, MAX_READ, &err);
    if (!v)
        uc_lua_throw(L, &err);
    uc_lua_own_json(L, v);
    uc_lua_push_json(L, v);
    return 1;
}

/* uc.exists(path): "file", "folder" or nil; tracked either way. */
static int l_exists(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct uc_err err = {0};
    struct stat st;

    must(L, uc_host_track(uc_host_of(L), path, &err), &err);
    if (stat(path, &st) < 0)
        return 0;
    lua_pushstring(L, S_ISDIR(st.st_mode) ? "folder" : "file");
    return 1;
}

/* Pushes an array of the names in a folder, in byte order. */
static void push_listing(lua_State *L, const char *dir, const char *pattern)
{
    lua_Integer n = 0;
    int set, iter;

    lua_newtable(L); /* names as keys, so that sorting is that of pairs */
    set = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "uc.lfs");
    lua_getfield(L, -1, "dir");
    lua_pushstring(L, dir);
    lua_call(L, 1, 2); /* LuaFileSystem's iterator and its handle */
    iter = lua_gettop(L) - 1;
    for (;;) {
        lua_pushvalue(L, iter);
        lua_pushvalue(L, iter + 1);
        lua_call(L, 1, 1);
        if (lua_isnil(L, -1))
            break;
        if (lua_tostring(L, -1)[0] != '.' && uc_str_match(pattern, lua_tostring(L, -1))) {
            lua_pushboolean(L, 1);
            lua_rawset(L, set);
            n++;
        } else {
            lua_pop(L, 1);
        }
    }
    uc_lua_sorted_keys(L, set);
}

/* uc.glob("data/c4-*.txt"): paths whose last part matches, sorted; the folder is tracked. */
static int l_glob(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct uc_err err = {0};
    const char *slash = strrchr(path, '/');
    const char *dir = !slash ? "." : slash == path ? "/" : NULL;
    int listing;

    if (!dir)
        dir = lua_pushlstring(L, path, (size_t)(slash - path));
    must_exist(L, dir, "folder");
    must(L, uc_host_track(uc_host_of(L), dir, &err), &err);
    push_listing(L, dir, slash ? slash + 1 : path);
    listing = lua_gettop(L);
    for (lua_Integer i = 1; lua_rawgeti(L, listing, i) != LUA_TNIL; i++) {
        if (slash) { /* made absolute or relative as the pattern was */
            lua_pushfstring(L, "%s/%s", slash == path ? "" : dir, lua_tostring(L, -1));
            lua_remove(L, -2);
        }
        lua_rawseti(L, listing, i);
    }
    lua_settop(L, listing);
    return 1;
}

/* Full texts that Debian ships in base-files, by SPDX identifier (lower case). */
static const struct {
    const char *id, *file;
} common[] = {
    {"apache-2.0", "Apache-2.0"},
    {"artistic-1.0-perl", "Artistic"},
    {"cc0-1.0", "CC0-1.0"},
    {"gpl-1.0-only", "GPL-1"},
    {"gpl-1.0-or-later", "GPL-1"},
    {"gpl-2.0", "GPL-2"},
    {"gpl-2.0-only", "GPL-2"},
    {"gpl-2.0-or-later", "GPL-2"},
    {"gpl-3.0", "GPL-3"},
    {"gpl-3.0-only", "GPL-3"},
    {"gpl-3.0-or-later", "GPL-3"},
    {"gfdl-1.2-only", "GFDL-1.2"},
    {"gfdl-1.2-or-later", "GFDL-1.2"},
    {"gfdl-1.3-only", "GFDL-1.3"},
    {"gfdl-1.3-or-later", "GFDL-1.3"},
    {"lgpl-2.0-only", "LGPL-2"},
    {"lgpl-2.0-or-later", "LGPL-2"},
    {"lgpl-2.1", "LGPL-2.1"},
    {"lgpl-2.1-only", "LGPL-2.1"},
    {"lgpl-2.1-or-later", "LGPL-2.1"},
    {"lgpl-3.0", "LGPL-3"},
    {"lgpl-3.0-only", "LGPL-3"},
    {"lgpl-3.0-or-later", "LGPL-3"},
    {"mpl-1.1", "MPL-1.1"},
    {"mpl-2.0", "MPL-2.0"},
};

/* uc.license_file("apache-2.0"): path of the full text on this machine, or nil. */
static int l_license_file(lua_State *L)
{
    const char *id = luaL_checkstring(L, 1);

    for (size_t i = 0; i < UC_COUNT(common); i++) {
        if (strcasecmp(id, common[i].id) != 0)
            continue;
        lua_pushfstring(L, "/usr/share/common-licenses/%s", common[i].file);
        return access(lua_tostring(L, -1), R_OK) == 0;
    }
    return 0;
}

void uc_bind_files(lua_State *L)
{
    static const luaL_Reg funcs[] = {{"file", l_file},
                                     {"inline", l_inline},
                                     {"read", l_read},
                                     {"read_json", l_read_json},
                                     {"exists", l_exists},
                                     {"glob", l_glob},
                                     {"license_file", l_license_file},
                                     {NULL, NULL}};

    lua_pushcfunction(L, luaopen_lfs); /* for push_listing only: recipes never see it */
    lua_call(L, 0, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "uc.lfs");
    lua_pushnil(L); /* it also makes itself a global */
    lua_setglobal(L, "lfs");
    luaL_setfuncs(L, funcs, 0);
}
