/* SmolLM2-135M, when it is there: our perplexity is that of a float64 pass in numpy. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "formats/tokenizer.h"
#include "model/dir.h"
#include "model/eval.h"

#define WINDOW 512

static struct uc_err err;

/* Under $UC_DATA (what the test command made), $UC_TEST_DATA, or shared/data beside the repository.
 * Skips the test, saying why, when it is
 * not there. Static memory: skip() does not return. */
static const char *data_path(const char *name)
{
    static char path[2][1024];
    static int turn;
    const char *made = getenv("UC_DATA"), *root = getenv("UC_TEST_DATA"), *src = getenv("UC_SRC");
    char *p = path[turn++ % 2];

    snprintf(p, sizeof(path[0]), "%s/%s", made ? made : ".", name);
    if (made && access(p, R_OK) == 0)
        return p;
    if (root)
        snprintf(p, sizeof(path[0]), "%s/%s", root, name);
    else
        snprintf(p, sizeof(path[0]), "%s/../shared/data/%s", src, name);
    if (access(p, R_OK) == 0)
        return p;
    print_message("SKIPPED: %s is not there (set UC_TEST_DATA)\n", p);
    skip();
    return NULL;
}

/* The first ids of the text; its head is cut at a line's end, so they are those of the whole. */
static uint32_t *first_ids(const char *text_path, const char *tokenizer, size_t n)
{
    struct uc_tokenizer *tok = uc_tokenizer_open(tokenizer, &err);
    uint32_t *ids = NULL;
    size_t len = 0, n_ids = 0;
    char *text = NULL;

    if (!tok || uc_read_file(text_path, 0, &text, &len, &err) < 0)
        fail_msg("%s", err.msg);
    char *cut = strchr(text + 8 * n, '\n');
    assert_non_null(cut);
    if (uc_tokenizer_encode(tok, text, (size_t)(cut - text), false, &ids, &n_ids, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(n_ids >= n);
    free(text);
    uc_tokenizer_free(tok);
    return ids;
}

/* tools/tiny_oracle.py MODEL TEXT --limit 2: nll 2.66495590. llama.cpp's perplexity over the first
 * 32 windows is 18.797, ours 18.79704 (docs/bench.md). */
static void smollm2_perplexity_is_the_oracles(void **state)
{
    const char *dir = data_path("models/smollm2"), *text = data_path("text/wikitext2-test.txt");
    struct uc_named_weights source;
    struct uc_model_dir m;
    json_t *report;

    if (uc_model_dir_open(&m, dir, UC_MODEL_SOURCE, &err) < 0)
        fail_msg("%s", err.msg);
    char *tokenizer = uc_path_join(dir, "tokenizer.json");
    uint32_t *ids = first_ids(text, tokenizer, 2 * WINDOW);
    json_t *d = uc_arch_describe(m.arch);
    struct uc_eval e = {.block = m.arch->block,
                        .n_layers = m.arch->n_layers,
                        .ids = ids,
                        .n_ids = 2 * WINDOW,
                        .pool = uc_pool_new(2, &err)};
    struct uc_eval_pair pair = {.source = &source.base};
    uc_named_weights_init(&source, d, &m.set);
    assert_int_equal(uc_protocol_init(&e.protocol, "llama", WINDOW, 0, 0, -1, &err), 0);
    if (uc_eval_run(&e, &pair, &report, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(uc_json_int(report, "n_tokens", 0), 510);
    if (fabs(uc_json_num(report, "nll_source", 0) - 2.66495590) > 1e-5)
        fail_msg("nll %.9f", uc_json_num(report, "nll_source", 0));
    json_decref(report);
    json_decref(d);
    uc_pool_free(e.pool);
    uc_model_dir_close(&m);
    free(ids);
    free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_perplexity_is_the_oracles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
