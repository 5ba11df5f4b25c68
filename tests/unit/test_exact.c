/* The statistics and the evaluation give the same bytes for every number of threads and every
 * instruction set, and the tiny model's perplexity is what a float64 pass in numpy finds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/eval.h"
#include "tiny_chain.h"

static struct uc_err err;

static void assert_same(const struct chain_digests *a, const struct chain_digests *b,
                        const char *cpu, int threads)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        if (!uc_digest_eq(&a->out[i].digest, &b->out[i].digest))
            fail_msg("%s differs with %s and %d threads", a->out[i].name, cpu, threads);
}

/* 1,100 tokens in windows of 1,030: two batches, neither a multiple of the moments' chunks. The
 * plain C variant calls fmaf for every product, so the work is small. */
static void same_bytes_for_any_machine(void **state)
{
    static const struct {
        unsigned mask;
        int threads;
    } runs[] = {{UC_CPU_AVX2, 1},
                {UC_CPU_AVX2, 4},
                {UC_CPU_AVX2 | UC_CPU_AVX512, 1},
                {UC_CPU_AVX2 | UC_CPU_AVX512, 2},
                {UC_CPU_AVX2 | UC_CPU_AVX512, 4}};
    struct chain_digests want, got;
    struct chain c;

    chain_open(&c, 1100);
    uc_cpu_set_mask(0);
    chain_run(&c, 1030, 1, &want);
    assert_int_equal(want.n, 28);
    for (size_t i = 0; i < UC_COUNT(runs); i++) {
        if (runs[i].mask & ~uc_cpu_flags_raw()) {
            print_message("SKIPPED: this machine has no %s\n", uc_cpu_name(runs[i].mask));
            continue;
        }
        uc_cpu_set_mask(runs[i].mask);
        chain_run(&c, 1030, runs[i].threads, &got);
        assert_same(&want, &got, uc_cpu_name(runs[i].mask), runs[i].threads);
    }
    uc_cpu_set_mask(~0u);
    chain_close(&c);
}

static json_t *evaluate(struct chain *c, size_t window, size_t limit)
{
    struct uc_eval e = {.block = c->model.arch->block,
                        .n_layers = c->model.arch->n_layers,
                        .ids = c->ids,
                        .n_ids = c->n_ids,
                        .pool = uc_pool_new(2, &err)};
    struct uc_named_weights source;
    struct uc_eval_pair pair = {.source = &source.base};
    json_t *report;

    uc_named_weights_init(&source, c->description, &c->model.set);
    assert_int_equal(
        uc_protocol_init(&e.protocol, "llama", (int64_t)window, 0, (int64_t)limit, -1, &err), 0);
    if (uc_eval_run(&e, &pair, &report, &err) < 0)
        fail_msg("%s", err.msg);
    uc_pool_free(e.pool);
    return report;
}

/* tools/tiny_oracle.py: nll 2.70859979 over 9,690 tokens. A logit is about 400 chained roundings of
 * 2^-24 off, which average out over the tokens: 1e-5 is far from both that and any real fault. */
static void tiny_perplexity_is_the_oracles(void **state)
{
    struct chain c;

    chain_open(&c, 0);
    json_t *report = evaluate(&c, 512, 0);
    assert_int_equal(uc_json_int(report, "n_tokens", 0), 9690);
    if (fabs(uc_json_num(report, "nll_source", 0) - 2.70859979) > 1e-5)
        fail_msg("nll %.9f", uc_json_num(report, "nll_source", 0));
    json_decref(report);
    chain_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_for_any_machine),
        cmocka_unit_test(tiny_perplexity_is_the_oracles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
