/* Tokenizer: ids of the tiny model, what each component does, and what is refused. The expected ids
 * are the `tokenizers` package's (tests/oracle compares with it directly). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/fsio.h"
#include "base/mem.h"
#include "formats/tokenizer.h"

static struct uc_tokenizer *parse(const char *json)
{
    struct uc_err err = {0};
    struct uc_tokenizer *t = uc_tokenizer_parse(json, strlen(json), "t.json", &err);

    if (!t)
        fail_msg("%s: %s", json, err.msg);
    return t;
}

/* The ids of a text as "1 2 3"; caller frees. */
static char *ids_of(const struct uc_tokenizer *t, const char *text, bool special)
{
    struct uc_err err = {0};
    struct uc_buf b;
    uint32_t *ids;
    size_t n;

    uc_buf_init(&b, 0);
    if (uc_tokenizer_encode(t, text, strlen(text), special, &ids, &n, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    for (size_t i = 0; i < n; i++)
        uc_buf_addf(&b, i ? " %u" : "%u", ids[i]);
    free(ids);
    return uc_buf_take(&b, &n);
}

static void check_ids(const char *json, const char *text, bool special, const char *want)
{
    struct uc_tokenizer *t = parse(json);
    char *got = ids_of(t, text, special);

    if (strcmp(got ? got : "", want))
        fail_msg("%s\n\"%s\": got %s, want %s", json, text, got, want);
    free(got);
    uc_tokenizer_free(t);
}

/* ---- the tiny model ---- */

static char *source(const char *name)
{
    const char *root = getenv("UC_SRC");

    return uc_path_join(root ? root : ".", name);
}

static const struct {
    const char *file, *digest; /* of the ids, u32 little-endian */
    size_t n;
} tiny[] = {
    {"examples/data/kjv-train.txt",
     "080b91407b05c78e163447d7e57f1b6b8d0d003b7ed1f699a5c1f2afbc3a4661", 39243},
    {"examples/data/kjv-heldout.txt",
     "f3550a72c260e9a9bc647dfec856538192302368010332edecde8f2e46acfcd3", 19943},
};

static void the_tiny_models_ids_are_known(void **state)
{
    char *path = source("examples/models/tiny/tokenizer.json"), *text, hex[UC_HEX_LEN + 1];
    struct uc_err err = {0};
    struct uc_tokenizer *t = uc_tokenizer_open(path, &err);

    assert_non_null(t);
    assert_int_equal(uc_tokenizer_size(t), 1024);
    for (size_t i = 0; i < UC_COUNT(tiny); i++) {
        char *file = source(tiny[i].file);
        struct uc_digest d;
        struct uc_buf back;
        uint32_t *ids;
        size_t n, n_ids;
        assert_int_equal(uc_read_file(file, 0, &text, &n, &err), 0);
        assert_int_equal(uc_tokenizer_encode(t, text, n, false, &ids, &n_ids, &err), 0);
        uc_digest_of(ids, n_ids * sizeof(*ids), &d);
        assert_int_equal(n_ids, tiny[i].n);
        assert_string_equal(uc_digest_hex(&d, hex), tiny[i].digest);
        uc_buf_init(&back, n + 1);
        assert_int_equal(uc_tokenizer_decode(t, ids, n_ids, false, &back, &err), 0);
        assert_int_equal(back.len, n);
        assert_memory_equal(back.data, text, n);
        uc_buf_release(&back);
        free(ids);
        free(text);
        free(file);
    }
    uc_tokenizer_free(t);
    free(path);
}

/* ---- components ---- */

/* ignore_merges makes every piece that is in the vocabulary one id: the ids show the pieces. */
#define PIECES                                                                                     \
    "\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"merges\":[],\"vocab\":{\"the\":0,"       \
    "\"-\":1,\"final\":2,\"--\":3,\"countdown\":4,\"the-\":5,\"final-\":6,\"-final\":7,"           \
    "\"-countdown\":8,\"1\":9,\"12\":10,\" \":11,\",\":12,\",,\":13,\"\xe2\x96\x81the\":14,"       \
    "\"\xe2\x96\x81"                                                                               \
    "final\":15,\"The\":16,\"\xc3\xa9\":17,\"e\xcc\x81\":18,\"e\":19}}"
#define SPLIT(behavior)                                                                            \
    "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":"          \
    "\"" behavior "\",\"invert\":false}," PIECES "}"
#define PRE(json)  "{\"pre_tokenizer\":" json "," PIECES "}"
#define NORM(json) "{\"normalizer\":" json "," PIECES "}"

static const struct {
    const char *json, *text, *ids;
} components[] = {
    {SPLIT("Removed"), "the-final--countdown", "0 2 4"},
    {SPLIT("Isolated"), "the-final--countdown", "0 1 2 1 1 4"},
    {SPLIT("MergedWithPrevious"), "the-final--countdown", "5 6 1 4"},
    {SPLIT("MergedWithNext"), "the-final--countdown", "0 7 1 8"},
    {SPLIT("Contiguous"), "the-final--countdown", "0 1 2 3 4"},
    {PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\w+\"},\"behavior\":\"Removed\","
         "\"invert\":true}"),
     "the-final", "0 2"},
    {PRE("{\"type\":\"Digits\",\"individual_digits\":true}"), "the121", "0 9 9"},
    {PRE("{\"type\":\"Digits\",\"individual_digits\":false}"), "the12", "0 10"},
    {PRE("{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}"), "the,,final", "0 13 2"},
    {PRE("{\"type\":\"Whitespace\"}"), "the,, final", "0 13 2"},
    {PRE("{\"type\":\"WhitespaceSplit\"}"), " the\n-final\t", "0 7"},
    {PRE("{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"always\"}"),
     "the final", "14 15"},
    {PRE("{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"never\"}"),
     "the final", "0 15"},
    {NORM("{\"type\":\"Lowercase\"}"), "The", "0"},
    {NORM("{\"type\":\"NFC\"}"), "e\xcc\x81", "17"},
    {NORM("{\"type\":\"NFD\"}"), "\xc3\xa9", "18"},
    {NORM("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"}]"
          "}"),
     "\xc3\xa9", "19"},
    {NORM("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}"), " the\n", "0"},
    {NORM("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[A-Z]\"},\"content\":\"t\"}"), "Xhe",
     "0"},
    {NORM("{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"}"), "the", "14"},
};

static void each_component_does_its_part(void **state)
{
    for (size_t i = 0; i < UC_COUNT(components); i++)
        check_ids(components[i].json, components[i].text, false, components[i].ids);
}

#define MODEL                                                                                      \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\" \":2,\"ab\":3},\"merges\":[]}"

static void added_tokens_are_cut_out(void **state)
{
    static const char json[] =
        "{\"added_tokens\":["
        "{\"id\":4,\"content\":\"<s>\",\"special\":true,\"normalized\":false,\"lstrip\":true},"
        "{\"id\":5,\"content\":\"<s>>\",\"special\":false,\"normalized\":false,\"rstrip\":true},"
        "{\"id\":6,\"content\":\"ba\",\"special\":false,\"normalized\":false,\"single_word\":true}]"
        ","
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
        "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\"}}],"
        "\"pair\":[],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[4],\"tokens\":[\"<s>\"]}}"
        "}," MODEL "}";

    check_ids(json, "a <s>b", false, "0 4 1");
    check_ids(json, "a <s>> b", false, "0 2 5 1");
    check_ids(json, "ba bab b", false, "6 2 1 0 1 2 1");
    check_ids(json, "a", true, "4 0");
    check_ids(json, "", true, "4");
    check_ids(json, "", false, "");
}

static void unknown_characters_become_bytes_or_unk(void **state)
{
    static const char fused[] =
        "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"fuse_unk\":true,"
        "\"vocab\":{\"?\":0,\"a\":1},\"merges\":[]}}";
    static const char single[] = "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?"
                                 "\":0,\"a\":1},\"merges\":[]}}";
    static const char bytes[] = "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":"
                                "\"?\",\"vocab\":{\"?\":0,"
                                "\"a\":1,\"<0xC3>\":2,\"<0xA9>\":3},\"merges\":[]}}";
    static const char nothing[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1},\"merges\":[]}}";

    check_ids(fused, "axyza", false, "1 0 1");
    check_ids(single, "axyza", false, "1 0 0 0 1");
    check_ids(bytes, "a\xc3\xa9z", false, "1 2 3 0");
    check_ids(nothing, "xax", false, "1");
}

static void merges_go_by_rank_then_from_the_left(void **state)
{
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"aa\":2,\"ab\":3,\"aab\":4},"
        "\"merges\":[\"a a\",\"aa b\",\"a b\"]}}";

    check_ids(json, "aaa", false, "2 0");
    check_ids(json, "aaab", false, "2 3");
    check_ids(json, "aab", false, "4");
}

/* A long piece with no split in it must not take quadratic time. */
static void a_long_piece_is_quick(void **state)
{
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"aaaa\":2},"
        "\"merges\":[[\"a\",\"a\"],[\"aa\",\"aa\"]]}}";
    struct uc_tokenizer *t = parse(json);
    size_t n = (size_t)1 << 21, n_ids;
    char *text = malloc(n);
    struct uc_err err;
    uint32_t *ids;

    memset(text, 'a', n);
    assert_int_equal(uc_tokenizer_encode(t, text, n, false, &ids, &n_ids, &err), 0);
    assert_int_equal(n_ids, n / 4);
    free(ids);
    free(text);
    uc_tokenizer_free(t);
}

static void bad_utf8_is_named_by_offset(void **state)
{
    struct uc_tokenizer *t = parse("{" MODEL "}");
    struct uc_err err = {0};
    uint32_t *ids;
    size_t n;

    assert_int_equal(uc_tokenizer_encode(t, "ab\xe9z", 4, false, &ids, &n, &err), UC_EFAIL);
    assert_non_null(strstr(err.msg, "byte 2 (0xe9)"));
    assert_int_equal(uc_tokenizer_encode(t, "ab\xc3", 3, false, &ids, &n, &err), UC_EFAIL);
    uc_tokenizer_free(t);
}

static void decoding_undoes_the_letters(void **state)
{
    static const char json[] =
        "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
        "\"String\":\"\xe2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":"
        "\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
        "\"added_tokens\":[{\"id\":5,\"content\":\"<s>\",\"special\":true,\"normalized\":false}],"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"\xe2\x96\x81"
        "a\":0,\"b\":1,\"<0xC3>\":2,\"<0xA9>\":3,\"\xe2\x96\x81\":4},\"merges\":[]}}";
    static const uint32_t ids[] = {5, 0, 1, 4, 2, 3, 2}, unknown = 9;
    struct uc_tokenizer *t = parse(json);
    struct uc_err err = {0};
    struct uc_buf b;

    uc_buf_init(&b, 0);
    assert_int_equal(uc_tokenizer_decode(t, ids, 6, true, &b, &err), 0);
    assert_string_equal(uc_buf_str(&b), "ab \xc3\xa9");
    uc_buf_clear(&b);
    assert_int_equal(uc_tokenizer_decode(t, ids + 6, 1, false, &b, &err), 0);
    assert_string_equal(uc_buf_str(&b), "\xef\xbf\xbd");
    assert_int_equal(uc_tokenizer_decode(t, &unknown, 1, false, &b, &err), UC_EFAIL);
    uc_buf_release(&b);
    uc_tokenizer_free(t);
}

/* ---- refusals ---- */

#define RE(regex)                                                                                  \
    "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex                       \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}," MODEL "}"
#define BPE(members) "{\"model\":{\"type\":\"BPE\"," members "}}"

static const struct {
    const char *json, *says;
} refused[] = {
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "model of type WordPiece"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "model of type Unigram"},
    {"{}", "no model"},
    {"[]", "not a tokenizer"},
    {"{\"version\":\"2.0\"," MODEL "}", "version \"2.0\""},
    {"{\"normalizer\":{\"type\":\"Precompiled\"}," MODEL "}", "normalizer of type Precompiled"},
    {"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nmt\"}]}," MODEL "}",
     "normalizer of type Nmt"},
    {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," MODEL "}", "of type UnicodeScripts"},
    {"{\"decoder\":{\"type\":\"CTC\"}," MODEL "}", "decoder of type CTC"},
    {"{\"post_processor\":{\"type\":\"BertProcessing\"}," MODEL "}", "of type BertProcessing"},
    {"{\"pre_tokenizer\":{}," MODEL "}", "has no type"},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Odd\"}"
     "," MODEL "}",
     "behavior \"Odd\""},
    {RE("[a&&b]"), "an intersection of classes"},
    {RE("[a[bc]]"), "a class in a class"},
    {RE("a{2,3}+"), "{n,m}+"},
    {RE("\\\\bx"), "\\b"},
    {RE("(?m:.)"), "a kind of group"},
    {RE("(a"), "regular expression"},
    {BPE("\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]"), "share id 0"},
    {BPE("\"vocab\":{\"a\":-1},\"merges\":[]"), "id of \"a\""},
    {BPE("\"vocab\":{\"a\":99999999},\"merges\":[]"), "id of \"a\""},
    {BPE("\"vocab\":{\"a\":0},\"merges\":[\"a\"]"), "merge 0"},
    {BPE("\"vocab\":{\"a\":0},\"merges\":[\"a b\"]"), "names a token that is not there"},
    {BPE("\"vocab\":{\"a\":0},\"merges\":[\"a a\"]"), "gives \"aa\""},
    {BPE("\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"a\",\"a\"]]"), "is not two tokens"},
    {BPE("\"vocab\":{\"a\":0},\"dropout\":0.1,\"merges\":[]"), "dropout"},
    {BPE("\"vocab\":[],\"merges\":[]"), "no vocab"},
    {BPE("\"vocab\":{}"), "no merges"},
};

static void what_is_not_known_is_refused_by_name(void **state)
{
    for (size_t i = 0; i < UC_COUNT(refused); i++) {
        struct uc_err err = {0};
        struct uc_tokenizer *t =
            uc_tokenizer_parse(refused[i].json, strlen(refused[i].json), "t.json", &err);
        if (t || err.code != UC_EREFUSED || !strstr(err.msg, refused[i].says) ||
            strncmp(err.msg, "t.json", 6))
            fail_msg("%s: %d \"%s\", expected \"%s\"", refused[i].json, err.code, err.msg,
                     refused[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tiny_models_ids_are_known),
        cmocka_unit_test(each_component_does_its_part),
        cmocka_unit_test(added_tokens_are_cut_out),
        cmocka_unit_test(unknown_characters_become_bytes_or_unk),
        cmocka_unit_test(merges_go_by_rank_then_from_the_left),
        cmocka_unit_test(a_long_piece_is_quick),
        cmocka_unit_test(bad_utf8_is_named_by_offset),
        cmocka_unit_test(decoding_undoes_the_letters),
        cmocka_unit_test(what_is_not_known_is_refused_by_name),
    };

    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
