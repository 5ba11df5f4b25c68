/*
 * The forward and backward ops against an independent float64 pass (tests/oracle).
 *
 * Tolerance: results come out of at most ten chained operations of at most 40 fp32 terms each, so
 * 400 roundings of 2^-24 relative to the largest entry: 2.4e-5. Squares (moments, sensitivities)
 * count twice. 5e-5 of the largest entry is allowed.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/eval.h"
#include "model/forward.h"
#include "op_harness.h"

#define TOLERANCE 5e-5
#define PARAMS                                                                                     \
    "{\"arch\":{\"block\":\"prenorm-gated\",\"act\":\"silu\",\"hidden\":16,"                       \
    "\"intermediate\":24,\"n_head\":4,\"n_kv\":2,\"head_dim\":4,\"rms_eps\":1e-5,"                 \
    "\"rope_theta\":10000.0},\"seqlen\":10,\"grad_windows\":2,\"rng_seed\":7"
#define HIDDEN 16
#define TOKENS 23

static struct uc_st golden;
static struct uc_err err;

static int open_golden(void **state)
{
    char *path = uc_path_join(getenv("UC_SRC"), "tests/golden/model.safetensors");
    int rc = uc_st_open(&golden, path, &err);

    if (rc < 0)
        fail_msg("%s", err.msg);
    free(path);
    return rc;
}

static int close_golden(void **state)
{
    uc_st_close(&golden);
    return 0;
}

static const double *want(const char *name, size_t *n)
{
    const struct uc_tensor_info *t = uc_st_find(&golden, name);

    if (!t || t->dtype != UC_DTYPE_F64)
        fail_msg("no golden %s", name);
    *n = t->size / sizeof(double);
    return (const double *)(golden.map.data + t->offset);
}

static void assert_near(const char *name, double got, double expected, double scale)
{
    if (!(fabs(got - expected) <= TOLERANCE * scale))
        fail_msg("%s: %.9g is not %.9g (largest %.3g)", name, got, expected, scale);
}

static double largest(const double *v, size_t n)
{
    double m = 0;

    for (size_t i = 0; i < n; i++)
        m = fabs(v[i]) > m ? fabs(v[i]) : m;
    return m;
}

static void assert_f32(const struct op_run *r, const char *output, const char *name)
{
    size_t n, size;
    const double *w = want(name, &n);
    const float *got = op_result(r, output, &size);

    assert_int_equal(size, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        assert_near(name, got[i], w[i], largest(w, n));
}

/* A moments blob against the golden full matrix; weight < 0: not compared. */
static void assert_moments(const struct op_run *r, const char *output, const char *name,
                           uint64_t n_tok, double weight)
{
    size_t n2, size;
    const double *w = want(name, &n2);
    const char *blob = op_result(r, output, &size);
    size_t n = (size_t)lround(sqrt((double)n2));
    uint64_t head[2];
    double stated;
    const double *got = (const double *)(blob + 24);

    memcpy(head, blob, sizeof(head));
    memcpy(&stated, blob + 16, sizeof(stated));
    assert_int_equal(head[0], n);
    assert_int_equal(head[1], n_tok);
    assert_int_equal(size, 24 + n * (n + 1) / 2 * 8);
    if (weight >= 0)
        assert_near(output, stated, weight, weight);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            assert_near(name, *got++, w[i * n + j], largest(w, n2));
}

static float *as_f32(const char *name, size_t *size)
{
    size_t n;
    const double *w = want(name, &n);
    float *v = uc_xcalloc(n, sizeof(*v));

    for (size_t i = 0; i < n; i++)
        v[i] = (float)w[i];
    *size = n * sizeof(*v);
    return v;
}

static void go(struct op_run *r, const char *op)
{
    if (op_go(r, op) < 0)
        fail_msg("%s: %s", op, r->err.msg);
}

static void add_layer(struct op_run *r, int layer, const char *as)
{
    static const char *const roles[] = {"attn_norm", "q",    "k",  "v",   "o",
                                        "mlp_norm",  "gate", "up", "down"};
    char tensor[64], input[64];

    for (size_t i = 0; i < UC_COUNT(roles); i++) {
        snprintf(tensor, sizeof(tensor), "layer/%03d/w/%s", layer, roles[i]);
        snprintf(input, sizeof(input), "%sw/%s", as, roles[i]);
        op_in_tensor(r, input, &golden, tensor);
    }
}

static const char *const taps[] = {"attn_in", "attn_out", "mlp_in", "mlp_mid"};

static void embed_takes_rows(void **state)
{
    struct op_run *r = op_new(PARAMS "}", 1);
    const struct uc_tensor_info *ids = uc_st_find(&golden, "ids");

    op_in(r, "ids", golden.map.data + ids->offset, ids->size);
    op_in_tensor(r, "w/embed", &golden, "w/embed");
    op_out(r, "x");
    go(r, "embed");
    assert_f32(r, "x", "x.0");
    op_free(r);
}

static void capture_layer(int layer)
{
    struct op_run *r = op_new(PARAMS "}", 2);
    char in[16], out[16], name[32], output[32];
    size_t size, n;
    float *x;

    snprintf(in, sizeof(in), "x.%d", layer);
    snprintf(out, sizeof(out), "x.%d", layer + 1);
    x = as_f32(in, &size);
    op_in(r, "x", x, size);
    add_layer(r, layer, "");
    op_out(r, "x");
    op_out(r, "g");
    for (size_t i = 0; i < UC_COUNT(taps); i++) {
        snprintf(output, sizeof(output), "s.%s", taps[i]);
        op_out(r, output);
    }
    go(r, "capture");
    assert_f32(r, "x", out);
    assert_memory_equal(op_result(r, "g", &n), x, 20 * HIDDEN * sizeof(float));
    assert_int_equal(n, 20 * HIDDEN * sizeof(float));
    for (size_t i = 0; i < UC_COUNT(taps); i++) {
        snprintf(output, sizeof(output), "s.%s", taps[i]);
        snprintf(name, sizeof(name), "%d.s.%s", layer, taps[i]);
        assert_moments(r, output, name, TOKENS, TOKENS);
    }
    free(x);
    op_free(r);
}

static void capture_is_the_forward_pass(void **state)
{
    capture_layer(0);
    capture_layer(1);
}

static void capture_head_normalises(void **state)
{
    struct op_run *r = op_new(PARAMS "}", 1);
    size_t size;
    float *x = as_f32("x.2", &size);

    op_in(r, "x", x, size);
    op_in_tensor(r, "w/final_norm", &golden, "w/final_norm");
    op_out(r, "s.head");
    go(r, "capture_head");
    assert_moments(r, "s.head", "s.head", TOKENS, TOKENS);
    free(x);
    op_free(r);
}

static void head_gradient_is_that_of_sampled_labels(void **state)
{
    struct op_run *r = op_new(PARAMS "}", 2);
    size_t size;
    float *g = as_f32("x.2", &size);

    op_in(r, "g", g, size);
    op_in_tensor(r, "w/final_norm", &golden, "w/final_norm");
    op_in_tensor(r, "w/head", &golden, "w/head");
    op_out(r, "dx");
    op_out(r, "sw.head");
    go(r, "sensitivity_head");
    assert_f32(r, "dx", "dx.2");
    assert_moments(r, "sw.head", "sw.head", TOKENS, -1);
    free(g);
    op_free(r);
}

static void assert_sensitivities(const struct op_run *r, int layer)
{
    static const char *const roles[] = {"q", "k", "v", "o", "gate", "up", "down"};
    char name[32], output[32];
    size_t n, size;

    for (size_t i = 0; i < UC_COUNT(taps); i++) {
        snprintf(name, sizeof(name), "%d.weight.%s", layer, taps[i]);
        double weight = *want(name, &n);
        snprintf(output, sizeof(output), "sw.%s", taps[i]);
        snprintf(name, sizeof(name), "%d.sw.%s", layer, taps[i]);
        assert_moments(r, output, name, TOKENS, weight);
    }
    for (size_t i = 0; i < UC_COUNT(roles); i++) {
        snprintf(output, sizeof(output), "h.%s", roles[i]);
        snprintf(name, sizeof(name), "%d.h.%s", layer, roles[i]);
        const double *w = want(name, &n);
        const char *blob = op_result(r, output, &size);
        const double *h = (const double *)(blob + 16);
        uint64_t head[2];

        memcpy(head, blob, sizeof(head));
        assert_int_equal(head[0], n);
        assert_int_equal(head[1], TOKENS);
        assert_int_equal(size, 16 + n * 8);
        for (size_t k = 0; k < n; k++)
            assert_near(name, h[k], w[k], largest(w, n));
    }
}

static void sensitivity_layer(int layer)
{
    static const char *const outputs[] = {"dx",         "h.q",         "h.k",       "h.v",
                                          "h.o",        "h.gate",      "h.up",      "h.down",
                                          "sw.attn_in", "sw.attn_out", "sw.mlp_in", "sw.mlp_mid"};
    struct op_run *r = op_new(PARAMS "}", 2);
    char name[16];
    size_t size;
    float *g, *dx;

    snprintf(name, sizeof(name), "x.%d", layer);
    g = as_f32(name, &size);
    op_in(r, "g", g, size);
    snprintf(name, sizeof(name), "dx.%d", layer + 1);
    dx = as_f32(name, &size);
    op_in(r, "dx", dx, size);
    add_layer(r, layer, "");
    for (size_t i = 0; i < UC_COUNT(outputs); i++)
        op_out(r, outputs[i]);
    go(r, "sensitivity");
    snprintf(name, sizeof(name), "dx.%d", layer);
    assert_f32(r, "dx", name);
    assert_sensitivities(r, layer);
    free(g);
    free(dx);
    op_free(r);
}

static void sensitivity_is_the_backward_pass(void **state)
{
    sensitivity_layer(1);
    sensitivity_layer(0);
}

static void embedding_gradient_moments(void **state)
{
    struct op_run *r = op_new(PARAMS "}", 1);
    size_t size;
    float *dx = as_f32("dx.0", &size);

    op_in(r, "dx", dx, size);
    op_out(r, "s.grad");
    go(r, "sensitivity_embed");
    assert_moments(r, "s.grad", "s.grad", TOKENS, TOKENS);
    free(dx);
    op_free(r);
}

/* ---- factor ---- */

struct moments {
    uint64_t n, n_tok;
    double weight, s[3]; /* width 2 */
};

static struct op_run *run_factor(const char *params, const struct moments *s, size_t n_s,
                                 const struct moments *sw, size_t n_sw, int code)
{
    struct op_run *r = op_new(params, 1);
    char name[16];

    for (size_t i = 0; i < n_s; i++) {
        snprintf(name, sizeof(name), "s/%03zu", i);
        op_in(r, name, &s[i], sizeof(s[i]));
    }
    for (size_t i = 0; i < n_sw; i++) {
        snprintf(name, sizeof(name), "sw/%03zu", i);
        op_in(r, name, &sw[i], sizeof(sw[i]));
    }
    op_out(r, "l");
    assert_int_equal(op_go(r, "factor"), code);
    return r;
}

/* L of a factor blob of width 2 against [[a, .], [b, c]] = L L^T. */
static void assert_factor(const struct op_run *r, double a, double b, double c)
{
    size_t size;
    const char *blob = op_result(r, "l", &size);
    const float *l = (const float *)(blob + 8);

    assert_int_equal(size, 8 + 3 * sizeof(float));
    assert_near("a", (double)l[0] * l[0], a, a);
    assert_near("b", (double)l[0] * l[1], b, a);
    assert_near("c", (double)l[1] * l[1] + (double)l[2] * l[2], c, c);
}

static void factor_mixes_and_damps(void **state)
{
    const struct moments s[] = {{2, 3, 3, {3, 1, 5}}, {2, 5, 5, {13, -3, 3}}};
    const struct moments sw[] = {{2, 8, 4, {2, 1, 6}}};
    struct op_run *r = run_factor("{\"mix\":0.25,\"damp\":0.5}", s, 2, sw, 1, 0);

    /* s/8 = [2, -.25, 1], sw/4 = [.5, .25, 1.5]; mixed [1.625, -.125, 1.125], + .5 * 1.375 */
    assert_factor(r, 2.3125, -0.125, 1.8125);
    op_free(r);
    r = run_factor("{\"damp\":0}", s, 2, NULL, 0, 0);
    assert_factor(r, 2, -0.25, 1);
    op_free(r);
    r = run_factor("{\"damp\":0,\"kind\":\"head\"}", s, 2, sw, 1, 0);
    assert_factor(r, 2.25, -0.125, 1.75);
    op_free(r);
}

static void factor_survives_an_input_that_is_never_excited(void **state)
{
    const struct moments s[] = {{2, 3, 3, {0, 0, 0}}};
    struct op_run *r = run_factor("{}", s, 1, NULL, 0, 0);

    assert_factor(r, 1, 0, 1);
    op_free(r);
}

static void factor_refuses_what_it_cannot_use(void **state)
{
    const struct moments s[] = {{2, 3, 3, {1, 2, 1}}}, none[] = {{2, 0, 0, {0, 0, 0}}};
    struct op_run *r = run_factor("{\"damp\":0}", s, 1, NULL, 0, UC_EFAIL);

    assert_non_null(strstr(r->err.msg, "singular"));
    op_free(r);
    r = run_factor("{}", none, 1, NULL, 0, UC_EFAIL);
    op_free(r);
    r = run_factor("{\"damp\":2}", s, 1, NULL, 0, UC_EUSAGE);
    op_free(r);
    r = op_new("{}", 1);
    op_in(r, "s/000", s, 17);
    op_out(r, "l");
    assert_int_equal(op_go(r, "factor"), UC_ECORRUPT);
    op_free(r);
}

/* ---- inputs that do not fit ---- */

static void capture_fails(const char *params, const void *x, size_t size, int code,
                          const char *says)
{
    struct op_run *r = op_new(params, 1);

    op_in(r, "x", x, size);
    add_layer(r, 0, "");
    op_out(r, "x");
    for (size_t i = 0; i < UC_COUNT(taps); i++) {
        char name[32];
        snprintf(name, sizeof(name), "s.%s", taps[i]);
        op_out(r, name);
    }
    assert_int_equal(op_go(r, "capture"), code);
    if (code < 0 && !strstr(r->err.msg, says))
        fail_msg("\"%s\" does not say \"%s\"", r->err.msg, says);
    op_free(r);
}

static void inputs_are_checked(void **state)
{
    float x[2 * HIDDEN] = {1};

    capture_fails(PARAMS "}", x, sizeof(x) - 4, UC_ECORRUPT, "input 'x'");
    capture_fails("{\"seqlen\":8}", x, sizeof(x), UC_EUSAGE, "'arch'");
    capture_fails("{\"arch\":{\"block\":\"prenorm-gated\",\"act\":\"silu\",\"hidden\":16,"
                  "\"intermediate\":32,\"n_head\":4,\"n_kv\":2,\"head_dim\":4,\"rms_eps\":1e-5,"
                  "\"rope_theta\":10000.0},\"seqlen\":8}",
                  x, sizeof(x), UC_EREFUSED, "'gate'");
    x[HIDDEN] = NAN;
    capture_fails(PARAMS "}", x, sizeof(x), UC_EFAIL, "token 1");
    capture_fails(PARAMS "}", NULL, 0, 0, "");
}

/* ---- rotary tables ---- */

/* Llama 3.2's scaling at position 1000, from math.cos and math.sin in Python: two frequencies that
 * are kept, three that are blended, three that are stretched. An angle of 1000 radians in fp64 is
 * exact to 1e-13; the table is fp32. */
static void llama3_scaling_stretches_slow_turns(void **state)
{
    static const struct {
        size_t i;
        double cos, sin;
    } expected[] = {
        {0, 0.562379076, 0.826879541},    {7, 0.992694017, 0.120658975},
        {15, 0.276594365, 0.960986762},   {16, 0.909150419, 0.416467905},
        {17, 0.995291158, 0.0969304475},  {18, 0.999810628, 0.0194604097},
        {20, 0.999963276, 0.00857015058}, {31, 0.999999996, 9.41830671e-05},
    };
    const struct uc_rope_params rope = {.type = UC_ROPE_LLAMA3,
                                        .theta = 500000,
                                        .factor = 32,
                                        .low_freq_factor = 1,
                                        .high_freq_factor = 4,
                                        .original_positions = 8192};
    float *c = uc_xcalloc(1001 * 32, sizeof(*c)), *s = uc_xcalloc(1001 * 32, sizeof(*s));

    uc_rope_tables(&rope, c, s, 1001, 64);
    for (size_t k = 0; k < UC_COUNT(expected); k++) {
        assert_true(fabs(c[1000 * 32 + expected[k].i] - expected[k].cos) < 1e-7);
        assert_true(fabs(s[1000 * 32 + expected[k].i] - expected[k].sin) < 1e-7);
    }
    free(c);
    free(s);
}

/* ---- protocols ---- */

static void llama_scores_the_second_half(void **state)
{
    struct uc_protocol p;

    assert_int_equal(uc_protocol_init(&p, "llama", 512, 0, 0, -1, &err), 0);
    assert_int_equal(uc_protocol_windows(&p, 512 * 3 + 511), 3);
    assert_int_equal(uc_protocol_windows(&p, 511), 0);
    struct uc_span s = uc_protocol_span(&p, 2000, 2);
    assert_int_equal(s.start, 1024);
    assert_int_equal(s.first, 256);
    assert_int_equal(s.n_scored, 255);
}

static void strided_scores_every_token_once(void **state)
{
    static const size_t cases[][3] = {{10, 4, 37}, {10, 10, 37}, {10, 1, 12}, {8, 3, 8},
                                      {8, 3, 5},   {10, 5, 31},  {10, 10, 31}};

    for (size_t c = 0; c < UC_COUNT(cases); c++) {
        size_t n = cases[c][2], windows, scored = 0;
        uint32_t ids[64], labels[64];
        struct uc_protocol p;

        for (uint32_t i = 0; i < 64; i++)
            ids[i] = i;
        assert_int_equal(uc_protocol_init(&p, "strided", (int64_t)cases[c][0], (int64_t)cases[c][1],
                                          0, -1, &err),
                         0);
        windows = uc_protocol_windows(&p, n);
        scored = uc_protocol_scored(&p, n, 0, windows);
        uc_protocol_labels(&p, ids, n, 0, windows, labels);
        /* All but the first token, and but each window's first when windows do not overlap. */
        size_t lost = cases[c][0] == cases[c][1] ? windows : 1;
        assert_int_equal(scored, n - lost);
        for (size_t i = 1; i < scored; i++)
            assert_true(labels[i] > labels[i - 1]);
        struct uc_span last = uc_protocol_span(&p, n, windows - 1);
        assert_int_equal(last.start + last.len, n);
    }
}

static void protocols_are_checked(void **state)
{
    struct uc_protocol p;

    assert_int_equal(uc_protocol_init(&p, "gptq", 512, 0, 0, -1, &err), UC_EUSAGE);
    assert_int_equal(uc_protocol_init(&p, "llama", 1, 0, 0, -1, &err), UC_EUSAGE);
    assert_int_equal(uc_protocol_init(&p, "llama", 512, 256, 0, -1, &err), UC_EUSAGE);
    assert_int_equal(uc_protocol_init(&p, "strided", 512, 513, 0, -1, &err), UC_EUSAGE);
}

/* ---- reference and bench ---- */

#define NAMES                                                                                      \
    "\"names\":{\"embed\":\"w/embed\",\"final_norm\":\"w/final_norm\",\"head\":\"w/head\","        \
    "\"layers\":["

static void add_names(char *out, size_t n)
{
    static const char *const roles[] = {"attn_norm", "q",    "k",  "v",   "o",
                                        "mlp_norm",  "gate", "up", "down"};
    size_t used = (size_t)snprintf(out, n, PARAMS ",\"window\":10,\"protocol\":\"llama\"," NAMES);

    for (int l = 0; l < 2; l++) {
        used += (size_t)snprintf(out + used, n - used, "%s{\"tensors\":{", l ? "," : "");
        for (size_t i = 0; i < UC_COUNT(roles); i++)
            used += (size_t)snprintf(out + used, n - used, "%s\"%s\":\"layer/%03d/w/%s\"",
                                     i ? "," : "", roles[i], l, roles[i]);
        used += (size_t)snprintf(out + used, n - used, "}}");
    }
    snprintf(out + used, n - used, "]}}");
}

static struct op_run *run_reference(void)
{
    struct op_run *r = op_new(PARAMS ",\"window\":10,\"protocol\":\"llama\"}", 2);
    const struct uc_tensor_info *ids = uc_st_find(&golden, "ids");

    op_in(r, "ids", golden.map.data + ids->offset, ids->size);
    op_in_tensor(r, "w/embed", &golden, "w/embed");
    op_in_tensor(r, "w/final_norm", &golden, "w/final_norm");
    add_layer(r, 0, "layer/000/");
    add_layer(r, 1, "layer/001/");
    op_out(r, "h");
    op_out(r, "labels");
    go(r, "reference");
    return r;
}

static void reference_holds_the_scored_rows(void **state)
{
    struct op_run *r = run_reference();
    const uint32_t *ids = (const uint32_t *)(golden.map.data + uc_st_find(&golden, "ids")->offset);
    size_t n, size;
    const double *final = want("final", &n);
    const float *h = op_result(r, "h", &size);
    const uint32_t *labels = op_result(r, "labels", NULL);

    assert_int_equal(size, 2 * 4 * HIDDEN * sizeof(float));
    for (size_t w = 0; w < 2; w++) {
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(labels[w * 4 + i], ids[w * 10 + 6 + i]);
            for (size_t k = 0; k < HIDDEN; k++)
                assert_near("final", h[(w * 4 + i) * HIDDEN + k],
                            final[(w * 10 + 5 + i) * HIDDEN + k], largest(final, n));
        }
    }
    op_free(r);
}

static void bench_of_the_source_itself_is_perfect(void **state)
{
    struct op_run *ref = run_reference(), *r;
    const struct uc_tensor_info *ids = uc_st_find(&golden, "ids");
    char params[4000];
    size_t size;

    add_names(params, sizeof(params));
    r = op_new(params, 2);
    op_in(r, "ids", golden.map.data + ids->offset, ids->size);
    op_in(r, "model", golden.map.data, golden.map.size);
    op_in_tensor(r, "w/head", &golden, "w/head");
    const void *h = op_result(ref, "h", &size);
    op_in(r, "reference/h", h, size);
    const void *labels = op_result(ref, "labels", &size);
    op_in(r, "reference/labels", labels, size);
    op_out(r, "report");
    go(r, "bench");
    const char *text = op_result(r, "report", &size);
    json_t *report = uc_json_parse(text, size, "report", &err);
    assert_int_equal(uc_json_int(report, "n_tokens", 0), 8);
    assert_true(uc_json_num(report, "kld_mean", 1) == 0);
    assert_true(uc_json_num(report, "ppl_ratio", 0) == 1);
    assert_true(uc_json_num(report, "ppl", 0) == uc_json_num(report, "ppl_source", 1));
    assert_true(uc_json_num(report, "top1_agreement", 0) == 1);
    assert_true(uc_json_num(report, "top10_agreement", 0) == 1);
    json_decref(report);
    op_free(r);
    op_free(ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_takes_rows),
        cmocka_unit_test(capture_is_the_forward_pass),
        cmocka_unit_test(capture_head_normalises),
        cmocka_unit_test(head_gradient_is_that_of_sampled_labels),
        cmocka_unit_test(sensitivity_is_the_backward_pass),
        cmocka_unit_test(embedding_gradient_moments),
        cmocka_unit_test(factor_mixes_and_damps),
        cmocka_unit_test(factor_survives_an_input_that_is_never_excited),
        cmocka_unit_test(factor_refuses_what_it_cannot_use),
        cmocka_unit_test(inputs_are_checked),
        cmocka_unit_test(llama3_scaling_stretches_slow_turns),
        cmocka_unit_test(llama_scores_the_second_half),
        cmocka_unit_test(strided_scores_every_token_once),
        cmocka_unit_test(protocols_are_checked),
        cmocka_unit_test(reference_holds_the_scored_rows),
        cmocka_unit_test(bench_of_the_source_itself_is_perfect),
    };

    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
