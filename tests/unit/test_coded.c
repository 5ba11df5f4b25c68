/* The coded-weights stream: what is written is read back, and what is damaged is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/mem.h"
#include "base/rng.h"
#include "formats/coded.h"
#include "formats/coded_enc.h"
#include "formats/coded_tables.h"

struct matrix {
    uint64_t m, n;
    uint32_t chunk_rows;
    unsigned shape;
    int32_t *codes;
    int16_t *side[4]; /* row steps, row classes, column steps, column classes */
};

static uint32_t draw(uint64_t stream, uint64_t i)
{
    uint32_t w[4];

    uc_philox(7, stream, i, w);
    return w[0];
}

static struct matrix make(uint64_t m, uint64_t n, uint32_t chunk_rows, unsigned shape, int spread)
{
    struct matrix a = {.m = m, .n = n, .chunk_rows = chunk_rows, .shape = shape};

    a.codes = uc_xcalloc(m * n, sizeof(*a.codes));
    for (int k = 0; k < 4; k++) {
        uint64_t len = k < 2 ? m : n;
        a.side[k] = uc_xcalloc(len, sizeof(int16_t));
        for (uint64_t i = 0; i < len; i++)
            a.side[k][i] = (int16_t)(k % 2 ? 8 + (int)(draw(10 + (unsigned)k, i) % 7)
                                           : -197 + 4 * (int)(draw(10 + (unsigned)k, i) % 9));
    }
    for (uint64_t i = 0; i < m * n; i++) {
        int32_t x = (int32_t)(draw(1, i) % 9) + (int32_t)(draw(2, i) % 9) - 8;
        a.codes[i] = spread ? x * spread : 0;
    }
    return a;
}

static void drop(struct matrix *a)
{
    for (int k = 0; k < 4; k++)
        free(a->side[k]);
    free(a->codes);
}

static void encode(const struct matrix *a, struct uc_buf *out)
{
    size_t n_chunks = (a->m - 1) / a->chunk_rows + 1;
    struct uc_buf *chunks = uc_xcalloc(n_chunks, sizeof(*chunks));
    struct uc_err err;
    struct uc_coded_coder *coder = uc_coded_coder_new(a->shape, &err);
    struct uc_coded_side side = {
        .m = a->m,
        .n = a->n,
        .chunk_rows = a->chunk_rows,
        .shape = a->shape,
        .log2_c = -3000,
        .row_step = a->side[0],
        .row_class = a->side[1],
        .col_step = a->side[2],
        .col_class = a->side[3],
    };

    assert_non_null(coder);
    for (size_t k = 0; k < n_chunks; k++) {
        uint64_t row = k * a->chunk_rows, rows = a->m - row;
        uc_buf_init(&chunks[k], 0);
        rows = rows < a->chunk_rows ? rows : a->chunk_rows;
        assert_int_equal(uc_coded_put_chunk(coder, a->side[1] + row, a->side[3], rows, a->n,
                                            a->codes + row * a->n, &chunks[k], &err),
                         0);
    }
    uc_buf_init(out, 0);
    assert_int_equal(uc_coded_put_stream(&side, chunks, n_chunks, out, &err), 0);
    for (size_t k = 0; k < n_chunks; k++)
        uc_buf_release(&chunks[k]);
    free(chunks);
    uc_coded_coder_free(coder);
}

static void check_rows(const struct matrix *a, const struct uc_buf *s, uint64_t row0, uint64_t rows)
{
    uint16_t *out = uc_xcalloc(rows * a->n + 1, sizeof(*out));
    struct uc_err err = {0};

    assert_int_equal(uc_coded_decode_rows(s->data, s->len, row0, rows, out, &err), 0);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t j = 0; j < a->n; j++)
            assert_int_equal(out[r * a->n + j], uc_coded_value(a->codes[(row0 + r) * a->n + j],
                                                               uc_coded_step(a->side[0][row0 + r]),
                                                               uc_coded_step(a->side[2][j])));
    free(out);
}

static void round_trip(struct matrix a)
{
    struct uc_buf s;
    struct uc_coded_info info;

    encode(&a, &s);
    assert_int_equal(uc_coded_info(s.data, s.len, &info, NULL), 0);
    assert_int_equal(info.m, a.m);
    assert_int_equal(info.n, a.n);
    assert_int_equal(info.log2_c, -3000);
    check_rows(&a, &s, 0, a.m);
    check_rows(&a, &s, a.m - 1, 1);
    check_rows(&a, &s, a.m / 2, a.m - a.m / 2);
    check_rows(&a, &s, a.m, 0);
    uc_buf_release(&s);
    drop(&a);
}

static void test_shapes(void **state)
{
    round_trip(make(1, 1, 1, 0, 1));
    round_trip(make(1, 300, 64, 1, 1));
    round_trip(make(300, 1, 64, 2, 1));
    round_trip(make(130, 47, 64, 3, 1));
    round_trip(make(65, 64, 64, 7, 2));
    round_trip(make(64, 64, 7, 4, 4));
}

static void test_zeros_are_nearly_free(void **state)
{
    struct matrix a = make(256, 256, 256, 0, 0);
    struct uc_buf s;

    for (int k = 0; k < 4; k++)
        memset(a.side[k], 0, 256 * sizeof(int16_t));
    encode(&a, &s);
    assert_true(s.len < 160);
    check_rows(&a, &s, 0, 256);
    uc_buf_release(&s);
    drop(&a);
}

/* Magnitudes from 1 to 2^24 where the classes expect 1 and where they expect 2^20. */
static void test_huge_codes(void **state)
{
    for (int class = 0; class < 120; class += 17) {
        struct matrix a = make(50, 20, 16, 1, 1);
        for (int i = 0; i < 1000; i++) {
            int32_t x = (int32_t)(draw(3, (uint64_t)i) >> (draw(4, (uint64_t)i) % 24 + 8));
            a.codes[i] = i % 2 ? -x : x;
        }
        a.codes[7] = 1 << 24;
        a.codes[8] = -(1 << 24);
        for (int i = 0; i < 50; i++)
            a.side[1][i] = (int16_t) class;
        round_trip(a);
    }
}

static void test_code_out_of_range_is_refused(void **state)
{
    struct uc_err err = {0};
    struct uc_coded_coder *coder = uc_coded_coder_new(0, &err);
    int16_t zero = 0;
    int32_t code = (1 << 24) + 1;
    struct uc_buf out;

    uc_buf_init(&out, 0);
    assert_int_equal(uc_coded_put_chunk(coder, &zero, &zero, 1, 1, &code, &out, &err), UC_EFAIL);
    uc_buf_release(&out);
    uc_coded_coder_free(coder);
    assert_null(uc_coded_coder_new(UC_CODED_SHAPES, &err));
}

/* Real lengths stay near the entropy that the tables promise. */
static void test_length_is_near_the_cost(void **state)
{
    struct matrix a = make(256, 512, 256, 2, 1);
    struct uc_buf s;
    double entropy = 0;
    size_t count[17] = {0};
    uint64_t total = a.m * a.n;

    for (int k = 0; k < 4; k += 1)
        for (int i = 0; i < (k < 2 ? 256 : 512); i++)
            a.side[k][i] = k == 1 ? 20 : k == 3 ? 7 : 0;
    for (uint64_t i = 0; i < total; i++)
        count[a.codes[i] + 8]++;
    for (int k = 0; k < 17; k++)
        for (size_t i = 0; i < count[k]; i++) {
            unsigned f = uc_coded_freq[2][27][k < 8 ? 8 - k : k - 8], log = 0;
            while (f >> (log + 1))
                log++;
            entropy += 14 - (log + ((double)f / (1u << log) - 1)); /* log2 by a chord: >= */
        }
    encode(&a, &s);
    assert_true((double)s.len * 8 < 1.01 * entropy + 1000);
    uc_buf_release(&s);
    drop(&a);
}

static void test_raw_mode(void **state)
{
    uint16_t rows[6] = {1, 2, 3, 0x3f80, 0x7f80, 0xffff}, out[6];
    struct uc_coded_side side = {.m = 3, .n = 2, .chunk_rows = 2, .mode = UC_CODED_RAW};
    struct uc_buf chunks[2], s;
    struct uc_err err = {0};

    uc_buf_init(&s, 0);
    for (int k = 0; k < 2; k++)
        uc_buf_init(&chunks[k], 0);
    for (int i = 0; i < 6; i++)
        uc_buf_add_u16(&chunks[i / 4], rows[i]);
    assert_int_equal(uc_coded_put_stream(&side, chunks, 2, &s, &err), 0);
    assert_int_equal(uc_coded_decode_rows(s.data, s.len, 0, 3, out, &err), 0);
    assert_memory_equal(rows, out, sizeof(rows));
    assert_int_equal(uc_coded_decode_rows(s.data, s.len, 1, 1, out, &err), 0);
    assert_memory_equal(rows + 2, out, 4);
    assert_int_equal(uc_coded_decode_rows(s.data, s.len, 1, 3, out, &err), UC_EFAIL);
    s.data[s.len - 1] ^= 1;
    assert_int_equal(uc_coded_decode_rows(s.data, s.len, 0, 1, out, &err), 0);
    assert_int_equal(uc_coded_decode_rows(s.data, s.len, 2, 1, out, &err), UC_ECORRUPT);
    uc_buf_release(&s);
    for (int k = 0; k < 2; k++)
        uc_buf_release(&chunks[k]);
}

static void test_every_damaged_byte_is_found(void **state)
{
    struct matrix a = make(9, 11, 4, 3, 2);
    uint16_t out[99];
    struct uc_buf s;
    struct uc_err err;

    encode(&a, &s);
    for (size_t i = 0; i < s.len; i++) {
        s.data[i] ^= (uint8_t)(1u << (i % 8));
        assert_true(uc_coded_decode_rows(s.data, s.len, 0, 9, out, &err) < 0);
        s.data[i] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t n = 0; n < s.len; n++) {
        uint8_t *copy = uc_xmalloc(n + 1);
        memcpy(copy, s.data, n);
        assert_true(uc_coded_decode_rows(copy, n, 0, 9, out, &err) < 0);
        free(copy);
    }
    uc_buf_release(&s);
    drop(&a);
}

/* A liar that also repairs the checksums meets the bounds checks behind them. */
static void test_lies_with_right_checksums(void **state)
{
    struct matrix a = make(9, 11, 4, 3, 2);
    uint16_t out[99];
    struct uc_buf s;
    struct uc_err err;
    size_t side, chunk;
    int found = 0;

    encode(&a, &s);
    side = 32 + 3 * 8;
    for (size_t at = side; at < s.len; at++) {
        uint8_t *copy = uc_xmalloc(s.len);
        struct uc_coded_info info;
        memcpy(copy, s.data, s.len);
        uc_coded_info(copy, s.len, &info, NULL);
        copy[at] = (uint8_t)(copy[at] * 5 + 77);
        chunk = info.side_bytes;
        for (size_t k = 0; k < 3; k++) {
            uint32_t len, crc;
            memcpy(&len, copy + 32 + 8 * k, 4);
            crc = uc_crc32(0, copy + chunk, len);
            memcpy(copy + 36 + 8 * k, &crc, 4);
            chunk += len;
        }
        uint32_t crc = uc_crc32(uc_crc32(0, copy, 28), copy + 32, info.side_bytes - 32);
        memcpy(copy + 28, &crc, 4);
        found += uc_coded_decode_rows(copy, s.len, 0, 9, out, &err) < 0;
        free(copy);
    }
    assert_true(found > 0);
    uc_buf_release(&s);
    drop(&a);
}

static void test_value(void **state)
{
    const float one = uc_coded_step(0);

    assert_true(one == 1.0f && uc_coded_step(-64) == 0.25f && uc_coded_step(-3200) == 0x1p-100f);
    assert_int_equal(uc_coded_value(0, one, one), 0);
    assert_int_equal(uc_coded_value(1, one, one), 0x3f80);
    assert_int_equal(uc_coded_value(-1, one, one), 0xbf80);
    assert_int_equal(uc_coded_value(1, uc_coded_step(48), uc_coded_step(-32)), 0x3fb5);
    assert_int_equal(uc_coded_value(3, one, 0.25f), 0x3f40);
    assert_int_equal(uc_coded_value(257, one, one), 0x4380); /* a tie goes to even */
    assert_int_equal(uc_coded_value(259, one, one), 0x4382);
}

static void test_tables_add_up(void **state)
{
    for (int s = 0; s < UC_CODED_SHAPES; s++)
        for (int c = 0; c < UC_CODED_CLASSES; c++) {
            const uint16_t *f = uc_coded_freq[s][c];
            unsigned sum = f[0] + f[UC_CODED_K + 1];
            int ended = 0;
            for (int k = 1; k <= UC_CODED_K; k++) {
                ended |= f[k] == 0;
                assert_true(!ended || f[k] == 0);
                sum += 2u * f[k];
            }
            assert_int_equal(sum, 1 << 14);
            assert_true(f[0] > 0 && f[1] > 0 && f[UC_CODED_K + 1] > 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_add_up),
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_zeros_are_nearly_free),
        cmocka_unit_test(test_huge_codes),
        cmocka_unit_test(test_code_out_of_range_is_refused),
        cmocka_unit_test(test_length_is_near_the_cost),
        cmocka_unit_test(test_raw_mode),
        cmocka_unit_test(test_every_damaged_byte_is_found),
        cmocka_unit_test(test_lies_with_right_checksums),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
