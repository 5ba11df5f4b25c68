/* The method's ops on small tensors with made-up statistics: same bytes always, right bytes at
 * last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "formats/coded.h"
#include "op_harness.h"

/* One made-up tensor and its statistics, as the other ops would give them. */
struct sample {
    char name[32];
    bool embed;
    size_t m, n, l_size, rows_size;
    uint16_t *w;
    uint8_t *l, *rows;
    char *stream, *info, *curve;
    size_t stream_size, info_size, curve_size;
};

static float noise(uint64_t stream, uint64_t i)
{
    float x = 0;

    for (uint64_t k = 0; k < 6; k++)
        x += uc_rng_uniform(11, stream * 8 + k, i) - 0.5f;
    return x * 1.4142f; /* variance 1 */
}

static uint16_t bf16(float x)
{
    uint32_t u;

    memcpy(&u, &x, 4);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* A factor with unequal diagonal and strong correlations. */
static void make_factor(struct sample *s)
{
    uint64_t n = s->n;
    float *p;

    s->l_size = 8 + 2 * n * (n + 1);
    s->l = uc_xcalloc(1, s->l_size);
    memcpy(s->l, &n, 8);
    p = (float *)(void *)(s->l + 8);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            *p++ = i == j ? 0.2f + uc_rng_uniform(3, 1, i) * 2
                          : 0.3f * noise(40, i * n + j) / (1 + (float)(i - j) * 0.2f);
}

static struct sample make(const char *name, size_t m, size_t n, bool embed)
{
    struct sample s = {.m = m, .n = n, .embed = embed};
    uint64_t head[2] = {m, 1000};

    snprintf(s.name, sizeof(s.name), "%s", name);
    s.w = uc_xcalloc(m * n, 2);
    for (size_t i = 0; i < m * n; i++)
        s.w[i] = bf16(0.05f * noise(strlen(name), i));
    make_factor(&s);
    s.rows_size = embed ? 4 * m : 16 + 8 * m;
    s.rows = uc_xcalloc(1, s.rows_size);
    if (!embed)
        memcpy(s.rows, head, 16);
    for (size_t o = 0; o < m; o++) {
        float u = uc_rng_uniform(5, 2, o);
        uint32_t count = (uint32_t)(100 * u * u * u);
        double h = 1000 * (0.1 + u);
        memcpy(s.rows + (embed ? 4 * o : 16 + 8 * o), embed ? (void *)&count : (void *)&h,
               embed ? 4 : 8);
    }
    return s;
}

static void drop(struct sample *s)
{
    free(s->w);
    free(s->l);
    free(s->rows);
    free(s->stream);
    free(s->info);
    free(s->curve);
}

static void add_tensor(struct op_run *r, const char *name, const uint16_t *w, size_t m, size_t n)
{
    struct uc_op_input *in = r->in;

    op_in(r, name, w, 2 * m * (n ? n : 1));
    while (strcmp(in->name, name) != 0)
        in++;
    in->dtype = "BF16";
    in->n_dim = n ? 2 : 1;
    in->shape[0] = m;
    in->shape[1] = n;
}

static char *copy_result(struct op_run *r, const char *name, size_t *size)
{
    const void *p = op_result(r, name, size);
    char *out = uc_xcalloc(1, *size + 1);

    memcpy(out, p, *size);
    return out;
}

static struct op_run *start(const char *op, const struct sample *s, const char *extra, int threads)
{
    char params[300];
    struct op_run *r;

    snprintf(params, sizeof(params), "{\"kind\":\"%s\",\"options\":{%s},\"seed\":0}",
             s->embed ? "embed" : "linear", extra);
    r = op_new(params, threads);
    add_tensor(r, "weight", s->w, s->m, s->n);
    op_in(r, "l", s->l, s->l_size);
    op_in(r, s->embed ? "counts/000" : "h/000", s->rows, s->rows_size);
    return r;
}

static void quantize(struct sample *s, int level, const char *extra, int threads)
{
    struct op_run *r = start("quantize", s, extra, threads);
    char c[64];

    snprintf(c, sizeof(c), "{\"log2_c_256\":%d}", level);
    op_in(r, "c", c, strlen(c));
    op_out(r, "stream");
    op_out(r, "info");
    if (op_go(r, "quantize") < 0)
        fail_msg("%s", r->err.msg);
    free(s->stream);
    free(s->info);
    s->stream = copy_result(r, "stream", &s->stream_size);
    s->info = copy_result(r, "info", &s->info_size);
    op_free(r);
}

static double info_number(const struct sample *s, const char *name)
{
    json_t *v = uc_json_parse(s->info, s->info_size, "info", NULL);
    double x = uc_json_num(v, name, -1);

    json_decref(v);
    return x;
}

static void test_same_bytes_for_threads_and_variants(void **state)
{
    static const unsigned masks[] = {~0u, UC_CPU_AVX2, 0};
    struct sample s = make("weight", 700, 150, false);
    char *first = NULL;
    size_t size = 0;

    for (int threads = 1; threads <= 3; threads++)
        for (int v = 0; v < 3; v++) {
            uc_cpu_set_mask(masks[v]);
            quantize(&s, -1400, "", threads);
            if (first) {
                assert_int_equal(size, s.stream_size);
                assert_memory_equal(first, s.stream, size);
            } else {
                first = s.stream;
                size = s.stream_size;
                s.stream = NULL;
            }
        }
    uc_cpu_set_mask(~0u);
    free(first);
    drop(&s);
}

/* 0.5 sum_o h_o |e_o L|^2 from the decoded stream, plainly. */
static double damage_of(const struct sample *s)
{
    uint16_t *v = uc_xcalloc(s->m * s->n, 2);
    const float *l = (const float *)(const void *)(s->l + 8);
    double total = 0;

    assert_int_equal(uc_coded_decode_rows((uint8_t *)s->stream, s->stream_size, 0, s->m, v, NULL),
                     0);
    for (size_t o = 0; o < s->m; o++) {
        double h, row = 0;
        memcpy(&h, s->rows + 16 + 8 * o, 8);
        for (size_t j = 0; j < s->n; j++) {
            double sum = 0;
            for (size_t i = j; i < s->n; i++) {
                uint32_t a = (uint32_t)s->w[o * s->n + i] << 16,
                         b = (uint32_t)v[o * s->n + i] << 16;
                float fa, fb;
                memcpy(&fa, &a, 4);
                memcpy(&fb, &b, 4);
                sum += ((double)fa - (double)fb) * (double)l[i * (i + 1) / 2 + j];
            }
            row += sum * sum;
        }
        total += 0.5 * h / 1000 * row;
    }
    free(v);
    return total;
}

static void test_damage_is_that_of_the_decoded_rows(void **state)
{
    struct sample s = make("weight", 90, 77, false);

    quantize(&s, -1500, "", 2);
    assert_true(info_number(&s, "damage") > 0.999 * damage_of(&s));
    assert_true(info_number(&s, "damage") < 1.001 * damage_of(&s));
    drop(&s);
}

/* An octave of C is a bit a weight and 6 dB. */
static void test_level_moves_rate_and_damage(void **state)
{
    struct sample s = make("weight", 300, 120, false);
    double bpw[2], damage[2];

    for (int i = 0; i < 2; i++) {
        quantize(&s, -1600 - 256 * i, "", 1);
        bpw[i] = info_number(&s, "bpw");
        damage[i] = info_number(&s, "damage");
    }
    assert_true(bpw[1] - bpw[0] > 0.8 && bpw[1] - bpw[0] < 1.05);
    assert_true(damage[0] / damage[1] > 3.3 && damage[0] / damage[1] < 4.2);
    quantize(&s, -1600, "\"scale\":0.5", 1);
    assert_true(info_number(&s, "bpw") > bpw[1] - 0.05 && info_number(&s, "bpw") < bpw[1] + 0.05);
    drop(&s);
}

static void test_small_and_odd_shapes(void **state)
{
    static const size_t shapes[][2] = {{1, 1}, {1, 90}, {90, 1}, {2, 3}, {65, 17}};

    for (size_t i = 0; i < UC_COUNT(shapes); i++)
        for (int embed = 0; embed < 2; embed++) {
            struct sample s = make("w", shapes[i][0], shapes[i][1], embed);
            quantize(&s, -1500, "", 2);
            assert_int_equal(info_number(&s, "rows"), shapes[i][0]);
            drop(&s);
        }
}

static void test_zero_weights_and_insensitive_rows(void **state)
{
    struct sample s = make("w", 128, 64, false);

    memset(s.w, 0, 64 * 64 * 2);
    memset(s.rows + 16, 0, 100 * 8);
    quantize(&s, -1500, "", 1);
    memset(s.w, 0, 128 * 64 * 2);
    memset(s.rows + 16, 0, 128 * 8);
    quantize(&s, -1500, "", 1);
    assert_true(s.stream_size < 400);
    drop(&s);
}

/* A column that an input of great power reads needs codes far beyond 16 bits. */
static void test_massive_columns(void **state)
{
    struct sample s = make("w", 64, 48, false);
    float *p = (float *)(void *)(s.l + 8);

    p[20 * 21 / 2 + 20] = 3e5f;
    quantize(&s, -1500, "", 1);
    assert_true(info_number(&s, "escapes") >= 60);
    assert_true(info_number(&s, "damage") < 2 * damage_of(&s) + 1);
    drop(&s);
}

static void test_bad_inputs_are_named(void **state)
{
    struct sample s = make("w", 64, 48, false);
    struct op_run *r = start("quantize", &s, "", 1);

    op_out(r, "stream");
    op_out(r, "info");
    assert_int_equal(op_go(r, "quantize"), UC_EFAIL); /* no level */
    op_in(r, "c", "{}", 2);
    assert_int_equal(op_go(r, "quantize"), UC_ECORRUPT);
    op_free(r);
    s.l_size -= 4;
    r = start("rate", &s, "", 1);
    op_out(r, "curve");
    assert_int_equal(op_go(r, "rate"), UC_ECORRUPT);
    assert_non_null(strstr(r->err.msg, "factor"));
    op_free(r);
    r = start("rate", &s, "\"scale\":0", 1);
    op_out(r, "curve");
    assert_int_equal(op_go(r, "rate"), UC_EUSAGE);
    op_free(r);
    drop(&s);
}

/* A whole model of three coded tensors and a norm, from rates to the verified file. */
struct model {
    struct sample t[3];
    uint16_t norm[96];
    char *c, *patch, *file, *tensors;
    size_t c_size, patch_size, file_size, tensors_size;
    long target, fixed;
};

static void name_for(char *out, const char *prefix, const struct sample *s)
{
    snprintf(out, 100, "%s%s", prefix, s->name);
}

static int allocate(struct model *m, char msg[1400])
{
    char params[200], name[100];
    struct op_run *r;
    int rc;

    snprintf(params, sizeof(params),
             "{\"target_bytes\":%ld,\"fixed_bytes\":%ld,\"count\":\"all\",\"weights\":106848}",
             m->target, m->fixed);
    r = op_new(params, 1);
    for (int i = 0; i < 3; i++) {
        name_for(name, "curve/", &m->t[i]);
        op_in(r, name, m->t[i].curve, m->t[i].curve_size);
    }
    op_out(r, "c");
    rc = op_go(r, "allocate");
    if (rc == 0)
        m->c = copy_result(r, "c", &m->c_size);
    snprintf(msg, 1400, "%s", r->err.msg);
    op_free(r);
    return rc;
}

static void make_model(struct model *m, double bpw)
{
    memset(m, 0, sizeof(*m));
    m->t[0] = make("embed", 512, 96, true);
    m->t[1] = make("up", 300, 96, false);
    m->t[2] = make("down", 96, 300, false);
    m->target = (long)(bpw * (512 * 96 + 2 * 300 * 96 + 96) / 8);
    m->fixed = 8 + 64 + 3 * 100 + 100 + 192;
    for (int i = 0; i < 3; i++) {
        struct op_run *r = start("rate", &m->t[i], "", 2);
        op_out(r, "curve");
        if (op_go(r, "rate") < 0)
            fail_msg("%s", r->err.msg);
        m->t[i].curve = copy_result(r, "curve", &m->t[i].curve_size);
        op_free(r);
    }
}

static void drop_model(struct model *m)
{
    for (int i = 0; i < 3; i++)
        drop(&m->t[i]);
    free(m->c);
    free(m->patch);
    free(m->file);
    free(m->tensors);
}

static void add_streams(struct op_run *r, const struct model *m, bool streams)
{
    char name[100];

    for (int i = 0; i < 3; i++) {
        name_for(name, "info/", &m->t[i]);
        op_in(r, name, m->t[i].info, m->t[i].info_size);
        name_for(name, "stream/", &m->t[i]);
        if (streams)
            op_in(r, name, m->t[i].stream, m->t[i].stream_size);
    }
}

static void land(struct model *m)
{
    char params[200], name[100];
    struct op_run *r;

    snprintf(params, sizeof(params),
             "{\"target_bytes\":%ld,\"fixed_bytes\":%ld,\"count\":\"all\",\"weights\":106848}",
             m->target, m->fixed);
    r = op_new(params, 2);
    add_streams(r, m, true);
    op_in(r, "c", m->c, m->c_size);
    for (int i = 0; i < 3; i++) {
        name_for(name, "weight/", &m->t[i]);
        add_tensor(r, name, m->t[i].w, m->t[i].m, m->t[i].n);
        name_for(name, "l/", &m->t[i]);
        op_in(r, name, m->t[i].l, m->t[i].l_size);
        name_for(name, "rows/", &m->t[i]);
        strcat(name, "/000");
        op_in(r, name, m->t[i].rows, m->t[i].rows_size);
    }
    op_out(r, "patch");
    if (op_go(r, "land") < 0)
        fail_msg("%s", r->err.msg);
    free(m->patch);
    m->patch = copy_result(r, "patch", &m->patch_size);
    op_free(r);
}

static void assemble(struct model *m)
{
    char params[200];
    struct op_run *r;

    snprintf(params, sizeof(params),
             "{\"target_bytes\":%ld,\"count\":\"all\",\"method\":\"track-a-row-overlay\","
             "\"method_version\":1,\"weights\":106848}",
             m->target);
    r = op_new(params, 1);
    add_streams(r, m, true);
    op_in(r, "patch", m->patch, m->patch_size);
    op_in(r, "config", "{\"model_type\":\"llama\"}", 22);
    add_tensor(r, "raw/norm", m->norm, 96, 0);
    op_out(r, "model");
    op_out(r, "config");
    op_out(r, "tensors");
    if (op_go(r, "assemble") < 0)
        fail_msg("%s", r->err.msg);
    assert_non_null(strstr(op_result(r, "config", NULL), "\"quant_method\": \"ultracompress\""));
    m->file = copy_result(r, "model", &m->file_size);
    m->tensors = copy_result(r, "tensors", &m->tensors_size);
    op_free(r);
}

static int verify(struct model *m, char msg[1400])
{
    struct op_run *r = op_new("{}", 2);
    int rc;

    add_streams(r, m, false);
    op_in(r, "model", m->file, m->file_size);
    op_in(r, "patch", m->patch, m->patch_size);
    op_out(r, "report");
    rc = op_go(r, "verify");
    snprintf(msg, 1400, "%s", r->err.msg);
    op_free(r);
    return rc;
}

static void test_whole_model_lands_on_its_budget(void **state)
{
    char msg[1400];

    for (double bpw = 2.3; bpw < 5; bpw += 0.9) {
        struct model m;
        json_t *tensors;

        make_model(&m, bpw);
        assert_int_equal(allocate(&m, msg), 0);
        for (int i = 0; i < 3; i++) {
            json_t *c = uc_json_parse(m.c, m.c_size, "c", NULL);
            quantize(&m.t[i], (int)uc_json_int(c, "log2_c_256", 0), "", 2);
            json_decref(c);
        }
        land(&m);
        assemble(&m);
        assert_int_equal(m.file_size, m.target);
        tensors = uc_json_parse(m.tensors, m.tensors_size, "tensors", NULL);
        /* what landing leaves, and fixed_bytes as far as it was an upper bound */
        assert_true(uc_json_int(tensors, "pad_bytes", 1 << 30) < m.target / 1000 + 160);
        json_decref(tensors);
        assert_int_equal(verify(&m, msg), 0);
        m.file[m.file_size / 2] ^= 4;
        assert_int_equal(verify(&m, msg), UC_ECORRUPT);
        drop_model(&m);
    }
}

static void test_unreachable_budget_says_what_is_reachable(void **state)
{
    struct model m;
    char msg[1400];
    double low = 0, high = 0;

    make_model(&m, 0.1);
    assert_int_equal(allocate(&m, msg), UC_EUSAGE);
    assert_non_null(strstr(msg, "can have"));
    assert_int_equal(sscanf(strstr(msg, "can have"), "can have %lf to %lf", &low, &high), 2);
    assert_true(low > 0.1 && low < 1 && high > 5);
    drop_model(&m);
    make_model(&m, 20);
    assert_int_equal(allocate(&m, msg), UC_EUSAGE);
    drop_model(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes_for_threads_and_variants),
        cmocka_unit_test(test_damage_is_that_of_the_decoded_rows),
        cmocka_unit_test(test_level_moves_rate_and_damage),
        cmocka_unit_test(test_small_and_odd_shapes),
        cmocka_unit_test(test_zero_weights_and_insensitive_rows),
        cmocka_unit_test(test_massive_columns),
        cmocka_unit_test(test_bad_inputs_are_named),
        cmocka_unit_test(test_whole_model_lands_on_its_budget),
        cmocka_unit_test(test_unreachable_budget_says_what_is_reachable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
