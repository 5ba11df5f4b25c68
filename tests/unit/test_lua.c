/* The sandbox of recipes: what is there, what is not, limits, order, errors with places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "lua/host.h"
#include "lua/state.h"
#include "lua/value.h"

/* Runs text in a fresh state whose globals are the safe libraries; what it returns as JSON text, or
 * NULL and *err. */
static char *run_limited(const char *text, size_t cap, uint64_t steps, struct uc_err *err)
{
    struct uc_lua *lu = uc_lua_new(cap, steps, NULL);
    char *out = NULL;
    int rc;

    assert_non_null(lu);
    lua_newtable(lu->L);
    uc_lua_open_safe(lu->L);
    rc = uc_lua_load(lu, text, strlen(text), "@test.lua", -1, err);
    if (rc == 0)
        rc = uc_lua_call(lu, 0, 1, err);
    if (rc == 0)
        out = uc_json_canonical(uc_lua_to_json(lu->L, -1, "result"));
    uc_lua_free(lu);
    return out;
}

static void gives(const char *text, const char *want)
{
    struct uc_err err = {0};
    char *got = run_limited(text, 0, 0, &err);

    if (!got)
        fail_msg("%s: %s", text, err.msg);
    assert_string_equal(got, want);
    free(got);
}

static void fails(const char *text, const char *message)
{
    struct uc_err err = {0};
    char *got = run_limited(text, 128 << 20, 2000000, &err);

    if (got)
        fail_msg("%s gave %s", text, got);
    assert_int_equal(err.code, UC_EUSAGE);
    if (!strstr(err.msg, message))
        fail_msg("%s: '%s' does not say '%s'", text, err.msg, message);
}

static void dangerous_names_are_absent(void **state)
{
    static const char *const names[] = {
        "io",     "os",       "debug",       "package",         "require",    "load",
        "dofile", "loadfile", "loadstring",  "collectgarbage",  "coroutine",  "next",
        "_G",     "warn",     "math.random", "math.randomseed", "string.dump"};
    char text[100];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(text, sizeof(text), "return %s == nil", names[i]);
        gives(text, "true");
    }
    gives("return ('x'):upper() .. #'abc' .. math.floor(2.5) .. table.concat({1, 2})", "\"X3212\"");
}

static void tables_are_walked_in_order(void **state)
{
    gives("local s = '' for k in pairs{ b = 1, a = 1, [3] = 1, [1] = 1, c = 1, B = 1, [-2.5] = 1 } "
          "do s = s .. k .. ' ' end return s",
          "\"-2.5 1 3 B a b c \"");
    gives("local n = 0 for _ in pairs{} do n = n + 1 end return n", "0");
    gives("local t, n = {}, 0 for i = 1, 2000 do t['k' .. i] = i end "
          "local last = '' for k in pairs(t) do assert(last < k) last = k n = n + 1 end return n",
          "2000");
    gives("local t, s = { a = 1, b = 2, c = 3 }, '' "
          "for k in pairs(t) do t.b = nil s = s .. k end return s",
          "\"ac\"");
    fails("for k in pairs{ [{}] = 1 } do end", "has no order");
}

static void no_text_shows_an_address(void **state)
{
    gives("return tostring({}) .. tostring(print)", "\"tablefunction\"");
    gives("return string.format('%s %s %d', {}, print, 3)", "\"table function 3\"");
    fails("return string.format('%p', {})", "address");
    fails("return string.format('%-20p', {})", "address");
}

static void finalizers_and_weak_tables_are_refused(void **state)
{
    fails("setmetatable({}, { __gc = function() end })", "__gc");
    fails("setmetatable({}, { __mode = 'k' })", "__mode");
    gives("return setmetatable({}, { __index = function(_, k) return k .. '!' end }).x", "\"x!\"");
    gives("return getmetatable('')", "\"string\"");
}

static void limits_end_with_a_place(void **state)
{
    fails("local x = 1\nwhile true do x = x + 1 end", "test.lua:2: the recipe does not end");
    fails("while true do pcall(function() while true do end end) end", "does not end");
    fails("local t = {}\nfor i = 1, 1e9 do\nt[i] = ('x'):rep(1000) .. i\nend", "test.lua:3: ");
    fails("return ('x'):rep(1 << 40)", "test.lua:1: ");
    fails("local function f() return 1 + f() end\nreturn f()", "stack overflow");
}

static void errors_name_file_and_line(void **state)
{
    fails("\n\nlocal t = nil\nt.x = 1", "test.lua:4: attempt to index a nil value");
    fails("error('mine')", "test.lua:1: mine");
    fails("error({})", "the recipe failed");
    fails("error(nil)", "nil");
    fails("x = = 1", "test.lua:1: ");
    fails("\x1bLua", "attempt to load a binary chunk");
}

static void values_survive_the_way_to_json(void **state)
{
    gives("return { a = { 1, 2.5, 'x', true }, b = {}, c = 1e300, d = 9007199254740993 }",
          "{\"a\":[1,2.5,\"x\",true],\"b\":{},\"c\":1.0000000000000001e300,"
          "\"d\":9007199254740993}");
}

/* Conversion raises inside a protected call of its own. */
static int to_json(lua_State *L)
{
    uc_lua_to_json(L, 1, "value");
    return 0;
}

static void values_that_are_not_plain_are_refused(void **state)
{
    static const char *const bad[] = {"return { print }", "return { 1, x = 2 }",
                                      "return 0 / 0",     "return { [1.5] = 2 }",
                                      "return 1 / 0",     "local t = {} t[1] = t return t",
                                      "return '\\xff'"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct uc_lua *lu = uc_lua_new(0, 0, NULL);
        struct uc_err err = {0};

        lua_newtable(lu->L);
        uc_lua_open_safe(lu->L);
        assert_int_equal(uc_lua_load(lu, bad[i], strlen(bad[i]), "@t", -1, &err), 0);
        assert_int_equal(uc_lua_call(lu, 0, 1, &err), 0);
        lua_pushcfunction(lu->L, to_json);
        lua_insert(lu->L, -2);
        if (uc_lua_call(lu, 1, 0, &err) != UC_EUSAGE)
            fail_msg("accepted: %s", bad[i]);
        uc_lua_free(lu);
    }
}

static void json_comes_back_as_it_was(void **state)
{
    const char *text = "{\"a\":[1,2,{\"b\":\"x\"}],\"c\":0.1,\"d\":false}";
    struct uc_lua *lu = uc_lua_new(0, 0, NULL);
    struct uc_err err = {0};
    json_t *v = uc_json_parse(text, strlen(text), "text", &err);
    char *got;

    uc_lua_push_json(lu->L, v);
    got = uc_json_canonical(uc_lua_to_json(lu->L, -1, "value"));
    assert_string_equal(got, "{\"a\":[1,2,{\"b\":\"x\"}],\"c\":0.10000000000000001,\"d\":false}");
    free(got);
    json_decref(v);
    uc_lua_free(lu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dangerous_names_are_absent),
        cmocka_unit_test(tables_are_walked_in_order),
        cmocka_unit_test(no_text_shows_an_address),
        cmocka_unit_test(finalizers_and_weak_tables_are_refused),
        cmocka_unit_test(limits_end_with_a_place),
        cmocka_unit_test(errors_name_file_and_line),
        cmocka_unit_test(values_survive_the_way_to_json),
        cmocka_unit_test(values_that_are_not_plain_are_refused),
        cmocka_unit_test(json_comes_back_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
