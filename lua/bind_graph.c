/* uc.action, uc.target, and the handles they give: actions and references to bytes. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "lua/host.h"
#include "lua/state.h"
#include "lua/value.h"

static const char REF[] = "uc.ref", ACTION[] = "uc.action";

struct action_box {
    uint32_t id;
};

struct uc_ref *uc_lua_check_ref(lua_State *L, int i)
{
    return luaL_checkudata(L, i, REF);
}

void uc_lua_push_ref(lua_State *L, const struct uc_ref *ref)
{
    struct uc_ref *box = lua_newuserdatauv(L, sizeof(*box), 0);

    *box = *ref;
    luaL_setmetatable(L, REF);
}

/* Looks up the field of the table at 1; raises when it has another type. Leaves it on the stack. */
static int field(lua_State *L, const char *name, int type, bool needed)
{
    int got = lua_getfield(L, 1, name);

    if (got == LUA_TNIL && !needed)
        return got;
    if (got != type)
        uc_lua_fail(L, "uc.action: '%s' must be a %s, not %s", name, lua_typename(L, type),
                    lua_typename(L, got));
    return got;
}

static void check_fields(lua_State *L, const char *word, const char *const *known, size_t n)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    uc_lua_sorted_keys(L, 1);
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
        size_t k = 0;
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "(number)";

        while (k < n && strcmp(known[k], name) != 0)
            k++;
        if (k == n)
            uc_lua_fail(L, "%s: unknown parameter '%s'", word, name);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
}

/* Array of uc_input in a userdata that stays on the stack. */
static struct uc_input *read_inputs(lua_State *L, int t, size_t *n)
{
    struct uc_input *in;
    lua_Integer count;
    int keys;

    t = lua_absindex(L, t);
    uc_lua_sorted_keys(L, t);
    keys = lua_gettop(L);
    count = (lua_Integer)lua_rawlen(L, keys);
    in = lua_newuserdatauv(L, sizeof(*in) * (size_t)(count ? count : 1), 0);
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, keys, i) != LUA_TSTRING)
            uc_lua_fail(L, "uc.action: names of inputs are text");
        in[i - 1].name = lua_tostring(L, -1); /* anchored by the keys */
        lua_rawget(L, t);
        if (!luaL_testudata(L, -1, REF))
            uc_lua_fail(L, "uc.action: input '%s' must be a reference to bytes, not %s",
                        in[i - 1].name, luaL_typename(L, -1));
        in[i - 1].ref = *uc_lua_check_ref(L, -1);
        lua_pop(L, 1);
    }
    *n = (size_t)count;
    return in;
}

static enum uc_retention retention(lua_State *L, const char *word)
{
    static const char *const words[] = {"keep", "cache", "transient"};

    for (int i = 0; word && i < (int)UC_COUNT(words); i++)
        if (!strcmp(word, words[i]))
            return (enum uc_retention)i;
    uc_lua_fail(L, "uc.action: outputs are 'keep', 'cache' or 'transient', not '%s'",
                word ? word : "?");
}

/* outputs = { x = "transient", s = { "cache", bytes = 1000 } } */
static struct uc_output *read_outputs(lua_State *L, int t, size_t *n)
{
    struct uc_output *out;
    lua_Integer count;
    int keys;

    t = lua_absindex(L, t);
    uc_lua_sorted_keys(L, t);
    keys = lua_gettop(L);
    count = (lua_Integer)lua_rawlen(L, keys);
    out = lua_newuserdatauv(L, sizeof(*out) * (size_t)(count ? count : 1), 0);
    memset(out, 0, sizeof(*out) * (size_t)count);
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, keys, i) != LUA_TSTRING)
            uc_lua_fail(L, "uc.action: names of outputs are text");
        out[i - 1].name = lua_tostring(L, -1);
        lua_rawget(L, t);
        if (lua_istable(L, -1)) {
            lua_getfield(L, -1, "bytes");
            out[i - 1].bytes = (uint64_t)lua_tonumber(L, -1);
            lua_rawgeti(L, -2, 1);
            out[i - 1].retention = retention(L, lua_tostring(L, -1));
            lua_pop(L, 2);
        } else {
            out[i - 1].retention = retention(L, lua_tostring(L, -1));
        }
        lua_pop(L, 1);
    }
    *n = (size_t)count;
    return out;
}

static json_t *ref_signature(const struct uc_ref *r)
{
    char hex[UC_HEX_LEN + 1];

    if (r->kind == UC_REF_OUTPUT || r->kind == UC_REF_TENSOR)
        return json_pack("[i, i, s]", r->kind, (int)r->action, r->output);
    return json_pack("[i, s, s, I]", r->kind, r->path ? r->path : "",
                     uc_digest_hex(&r->digest, hex), (json_int_t)r->offset);
}

/* What makes two uc.action calls of a recipe the same step: several artifacts share it then. */
static void push_signature(lua_State *L, const struct uc_action *a)
{
    json_t *inputs = json_object(), *sig;
    char *text, hex[UC_HEX_LEN + 1];
    struct uc_digest d;

    for (size_t i = 0; i < a->n_inputs; i++)
        json_object_set_new(inputs, a->inputs[i].name, ref_signature(&a->inputs[i].ref));
    sig = json_pack("[s, O, o, s]", a->op, a->params, inputs, a->stat_path ? a->stat_path : "");
    text = uc_json_canonical(sig);
    uc_digest_of(text, strlen(text), &d);
    free(text);
    json_decref(sig);
    lua_pushlstring(L, uc_digest_hex(&d, hex), UC_HEX_LEN);
}

static void push_action(lua_State *L, uint32_t id)
{
    struct action_box *box = lua_newuserdatauv(L, sizeof(*box), 0);

    box->id = id;
    luaL_setmetatable(L, ACTION);
}

/* A name that another action has already gets a number: "allocate", "allocate (2)". */
static const char *free_name(lua_State *L, const struct uc_graph *g, const char *name)
{
    const char *s = name;

    for (int i = 2; uc_graph_find(g, s); i++)
        s = lua_pushfstring(L, "%s (%d)", name, i);
    return s;
}

static int add_action(lua_State *L, struct uc_action *a)
{
    struct uc_plan_host *h = uc_host_of(L);
    struct uc_err err = {0};
    int seen;

    lua_getfield(L, LUA_REGISTRYINDEX, "uc.seen");
    seen = lua_gettop(L);
    push_signature(L, a);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, seen) == LUA_TUSERDATA)
        return 1;
    lua_pop(L, 1);
    a->name = free_name(L, h->graph, a->name);
    if (uc_graph_add(h->graph, a, &a->id, &err) < 0)
        uc_lua_throw(L, &err);
    lua_pushvalue(L, seen + 1);
    push_action(L, a->id);
    lua_pushvalue(L, -1);
    lua_insert(L, -3);
    lua_rawset(L, seen);
    return 1;
}

static int l_action(lua_State *L)
{
    static const char *const known[] = {"op",      "name",   "params", "inputs", "outputs",
                                        "threads", "memory", "work",   "stat"};
    struct uc_action a = {.threads = 1};

    luaL_checkstack(L, 60, "uc.action");
    check_fields(L, "uc.action", known, UC_COUNT(known));
    field(L, "op", LUA_TSTRING, true);
    a.op = lua_tostring(L, -1);
    a.name = a.op;
    if (field(L, "name", LUA_TSTRING, false) == LUA_TSTRING)
        a.name = lua_tostring(L, -1);
    if (field(L, "stat", LUA_TSTRING, false) == LUA_TSTRING)
        a.stat_path = lua_tostring(L, -1);
    if (field(L, "threads", LUA_TNUMBER, false) == LUA_TNUMBER)
        a.threads = (int)lua_tonumber(L, -1);
    if (field(L, "memory", LUA_TNUMBER, false) == LUA_TNUMBER)
        a.memory = (uint64_t)lua_tonumber(L, -1);
    if (field(L, "work", LUA_TNUMBER, false) == LUA_TNUMBER)
        a.work = lua_tonumber(L, -1);
    if (field(L, "inputs", LUA_TTABLE, false) == LUA_TTABLE)
        a.inputs = read_inputs(L, -1, &a.n_inputs);
    field(L, "outputs", LUA_TTABLE, true);
    a.outputs = read_outputs(L, -1, &a.n_outputs);
    if (field(L, "params", LUA_TTABLE, false) == LUA_TNIL)
        lua_newtable(L);
    a.params = uc_lua_to_json(L, -1, "params");
    return add_action(L, &a);
}

static int action_index(lua_State *L)
{
    struct action_box *box = luaL_checkudata(L, 1, ACTION);
    const char *name = luaL_checkstring(L, 2);
    struct uc_graph *g = uc_host_of(L)->graph;
    const struct uc_output *o = uc_graph_output(g, box->id, name);
    struct uc_ref ref = {.kind = UC_REF_OUTPUT, .action = box->id};

    if (!o)
        uc_lua_fail(L, "action '%s' has no output '%s'", g->actions[box->id].name, name);
    ref.output = o->name;
    uc_lua_push_ref(L, &ref);
    return 1;
}

/* uc.tensor(fingerprint, info): info as in uc.model(...).tensors */
static int l_tensor(lua_State *L)
{
    struct action_box *box = luaL_checkudata(L, 1, ACTION);
    struct uc_graph *g = uc_host_of(L)->graph;
    struct uc_ref ref = {.kind = UC_REF_TENSOR, .action = box->id};

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "name");
    lua_getfield(L, 2, "path");
    lua_getfield(L, 2, "dtype");
    lua_getfield(L, 2, "offset");
    lua_getfield(L, 2, "size");
    lua_getfield(L, 2, "shape");
    ref.output = uc_arena_strdup(&g->arena, luaL_checkstring(L, 3));
    ref.path = uc_arena_strdup(&g->arena, luaL_checkstring(L, 4));
    ref.dtype = uc_arena_strdup(&g->arena, luaL_checkstring(L, 5));
    ref.offset = (uint64_t)luaL_checkinteger(L, 6);
    ref.size = (uint64_t)luaL_checkinteger(L, 7);
    ref.n_dim = (int)lua_rawlen(L, 8);
    if (ref.n_dim > 8)
        uc_lua_fail(L, "tensor '%s' has too many dimensions", ref.output);
    for (int i = 0; i < ref.n_dim; i++) {
        lua_rawgeti(L, 8, i + 1);
        ref.shape[i] = (uint64_t)luaL_checkinteger(L, -1);
        lua_pop(L, 1);
    }
    uc_lua_push_ref(L, &ref);
    return 1;
}

/* uc.target { name, dir, files = { [path] = ref }, summary = path, info = {} } */
static int l_target(lua_State *L)
{
    static const char *const known[] = {"name", "dir", "files", "summary", "info"};
    struct uc_plan_host *h = uc_host_of(L);
    struct uc_target t = {0};
    struct uc_err err = {0};

    check_fields(L, "uc.target", known, UC_COUNT(known));
    field(L, "name", LUA_TSTRING, true);
    t.name = lua_tostring(L, -1);
    if (field(L, "dir", LUA_TSTRING, false) == LUA_TSTRING)
        t.dir = lua_tostring(L, -1);
    if (field(L, "summary", LUA_TSTRING, false) == LUA_TSTRING)
        t.summary = lua_tostring(L, -1);
    field(L, "files", LUA_TTABLE, true);
    t.files = read_inputs(L, -1, &t.n_files);
    if (field(L, "info", LUA_TTABLE, false) == LUA_TNIL)
        lua_newtable(L);
    t.info = uc_lua_to_json(L, -1, "info");
    if (uc_graph_add_target(h->graph, &t, &err) < 0)
        uc_lua_throw(L, &err);
    return 0;
}

static int l_default_target(lua_State *L)
{
    struct uc_graph *g = uc_host_of(L)->graph;

    g->default_target = uc_arena_strdup(&g->arena, luaL_checkstring(L, 1));
    return 0;
}

static int ref_bytes(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)uc_lua_check_ref(L, 1)->size);
    return 1;
}

/* uc.digest(ref): SHA-256 of a slice or of inline bytes, in hex. */
static int ref_digest(lua_State *L)
{
    const struct uc_ref *r = uc_lua_check_ref(L, 1);
    char hex[UC_HEX_LEN + 1];

    if (r->kind != UC_REF_SLICE && r->kind != UC_REF_INLINE)
        uc_lua_fail(L, "uc.digest: these bytes are not known while planning");
    lua_pushstring(L, uc_digest_hex(&r->digest, hex));
    return 1;
}

void uc_bind_graph(lua_State *L)
{
    static const luaL_Reg funcs[] = {{"action", l_action}, {"tensor", l_tensor},
                                     {"target", l_target}, {"default_target", l_default_target},
                                     {"bytes", ref_bytes}, {"digest", ref_digest},
                                     {NULL, NULL}};

    luaL_newmetatable(L, REF);
    lua_pop(L, 1);
    luaL_newmetatable(L, ACTION);
    lua_pushcfunction(L, action_index);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "uc.seen");
    luaL_setfuncs(L, funcs, 0);
}
