#include "formats/coded_enc.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "formats/coded_layout.h"
#include "formats/coded_rans.h"

struct uc_coded_coder {
    struct rans_model model;
};

/* rANS is last in, first out: symbols are put in reverse and the words come out in reverse. */
struct rans_enc {
    uint32_t x[RANS_LANES];
    uint16_t *words;
    size_t n, cap;
};

/* One symbol of the reading order: an interval of the 2^14 slots. */
struct interval {
    uint16_t start, freq;
};

enum { INTERVALS_MAX = 12 }; /* of one code: symbol, 5 + 3 x 12 + 1 escape bits, 2 x 12 low bits */

static int enc_init(struct rans_enc *e, size_t n_codes, struct uc_err *err)
{
    for (int l = 0; l < RANS_LANES; l++)
        e->x[l] = RANS_LOW;
    e->n = 0;
    e->cap = n_codes / 2 + 64;
    return uc_alloc(&e->words, e->cap, sizeof(*e->words), "coded words", err);
}

static int enc_reserve(struct rans_enc *e, struct uc_err *err)
{
    uint16_t *grown;

    if (e->cap - e->n >= INTERVALS_MAX)
        return 0;
    grown = realloc(e->words, 2 * e->cap * sizeof(*grown));
    if (!grown)
        return uc_fail(err, UC_ERESOURCE, "no memory for %zu coded words", 2 * e->cap);
    e->words = grown;
    e->cap *= 2;
    return 0;
}

static void enc_interval(struct rans_enc *e, int lane, struct interval v)
{
    uint32_t x = e->x[lane];

    if (x >> (32 - UC_CODED_FREQ_BITS) >= v.freq) {
        e->words[e->n++] = (uint16_t)x;
        x >>= 16;
    }
    e->x[lane] = ((x / v.freq) << UC_CODED_FREQ_BITS) + x % v.freq + v.start;
}

static int raw_intervals(struct interval *v, uint32_t value, int bits)
{
    int n = 0;

    for (; bits > 0; bits -= RANS_RAW_MAX, value >>= RANS_RAW_MAX) {
        int b = bits < RANS_RAW_MAX ? bits : RANS_RAW_MAX;
        uint32_t part = value & ((1u << b) - 1);
        v[n].start = (uint16_t)(part << (UC_CODED_FREQ_BITS - b));
        v[n++].freq = (uint16_t)(1u << (UC_CODED_FREQ_BITS - b));
    }
    return n;
}

static int code_intervals(struct interval *v, const struct rans_class *c, int shift, int32_t code)
{
    int32_t half = shift ? 1 << (shift - 1) : 0;
    int32_t q = (code + half) >> shift;
    uint32_t size = (uint32_t)(q < 0 ? -q : q), rest;
    bool escape = size > (uint32_t)c->k_max;
    int symbol = escape ? RANS_ESCAPE : q + UC_CODED_K, n = 1, bits;

    v[0].start = c->cum[symbol];
    v[0].freq = c->freq[symbol];
    if (escape) {
        rest = size - (uint32_t)c->k_max;
        bits = 31 - __builtin_clz(rest);
        n += raw_intervals(v + n, (uint32_t)bits, 5);
        n += raw_intervals(v + n, rest - (1u << bits), bits);
        n += raw_intervals(v + n, q < 0, 1);
    }
    return n + raw_intervals(v + n, (uint32_t)(code + half) & ((1u << shift) - 1), shift);
}

static int enc_code(struct rans_enc *e, int lane, const struct rans_class *c, int shift,
                    int32_t code, struct uc_err *err)
{
    struct interval v[INTERVALS_MAX];
    int n;

    if (code > CODED_CODE_MAX || code < -CODED_CODE_MAX)
        return uc_fail(err, UC_EFAIL, "code %d is out of the stream's range", (int)code);
    if (enc_reserve(e, err) < 0)
        return err->code;
    n = code_intervals(v, c, shift, code);
    while (n--)
        enc_interval(e, lane, v[n]);
    return 0;
}

/* States, then words in reading order. */
static int enc_finish(const struct rans_enc *e, int lanes, struct uc_buf *out, struct uc_err *err)
{
    for (int l = 0; l < lanes; l++)
        uc_buf_add_u32(out, e->x[l]);
    for (size_t i = e->n; i > 0; i--)
        uc_buf_add_u16(out, e->words[i - 1]);
    return uc_buf_check(out, "coded stream", err);
}

struct uc_coded_coder *uc_coded_coder_new(unsigned shape, struct uc_err *err)
{
    struct uc_coded_coder *c;

    if (shape >= UC_CODED_SHAPES) {
        uc_fail(err, UC_EFAIL, "table shape %u does not exist", shape);
        return NULL;
    }
    if (uc_alloc(&c, 1, sizeof(*c), "coder tables", err) < 0)
        return NULL;
    uc_rans_model_init(&c->model, shape);
    return c;
}

void uc_coded_coder_free(struct uc_coded_coder *c)
{
    free(c);
}

int uc_coded_put_chunk(const struct uc_coded_coder *c, const int16_t *row_class,
                       const int16_t *col_class, uint64_t n_rows, uint64_t n, const int32_t *codes,
                       struct uc_buf *out, struct uc_err *err)
{
    struct rans_enc e;
    uint64_t i = n_rows * n;
    int rc = enc_init(&e, i, err), shift;

    for (uint64_t r = n_rows; rc == 0 && r-- > 0;)
        for (uint64_t j = n; rc == 0 && j-- > 0;) {
            int k = coded_class(row_class[r] + col_class[j], &shift);
            i--;
            rc = enc_code(&e, (int)(i % RANS_LANES), &c->model.c[k], shift, codes[i], err);
        }
    if (rc == 0)
        rc = enc_finish(&e, RANS_LANES, out, err);
    free(e.words);
    return rc;
}

static void array_residuals(int32_t *r, const int16_t *x, const int16_t *steps, size_t n,
                            const struct coded_array *head)
{
    int32_t last = head->base;

    for (size_t i = 0; i < n; i++) {
        int32_t z = coded_array_linked(head) ? x[i] + coded_link(steps[i])
                                             : (x[i] - head->offset) >> head->unit;
        r[i] = z - last;
        if (head->flags & CODED_ARRAY_DELTA)
            last = z;
    }
}

/* 16 log2(2^14 / freq), in integers, so that every machine takes the same choices. */
static uint32_t cost16(uint16_t freq)
{
    uint64_t x = (uint64_t)freq << 16;
    uint32_t log = 0;

    for (int bit = 0; bit < 5; bit++) {
        int up = 63 - __builtin_clzll(x) - 16;
        log = 2 * (log + (uint32_t)up);
        x = up >= 0 ? x >> up : x << -up;
        x = x * x >> 16;
    }
    return 16 * UC_CODED_FREQ_BITS - log / 2;
}

enum { HIST = 256 }; /* magnitudes; the last stands for all beyond */

static uint64_t residual_cost(const struct rans_class *c, const uint32_t hist[HIST])
{
    struct interval v[INTERVALS_MAX];
    uint64_t cost = 0;

    for (int size = 0; size < HIST; size++)
        if (hist[size])
            for (int k = code_intervals(v, c, 0, size); k-- > 0;)
                cost += (uint64_t)hist[size] * cost16(v[k].freq);
    return cost;
}

static int32_t middle(const int16_t *x, const int16_t *steps, size_t n,
                      const struct coded_array *head)
{
    int64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += coded_array_linked(head) ? x[i] + coded_link(steps[i])
                                        : (x[i] - head->offset) >> head->unit;
    return (int32_t)(sum >= 0 ? (sum + (int64_t)n / 2) / (int64_t)n
                              : -((-sum + (int64_t)n / 2) / (int64_t)n));
}

/* Tries every predictor and table; keeps the cheapest. */
static void choose_array(struct coded_array *best, const struct rans_model *models,
                         const int16_t *x, const int16_t *steps, size_t n, int32_t *r)
{
    uint64_t least = UINT64_MAX;
    uint32_t hist[HIST];

    for (int flags = 0; flags < (steps ? 4 : 2); flags++) {
        struct coded_array h = {
            .flags = (uint8_t)flags, .unit = best->unit, .offset = best->offset};
        h.base = (int16_t)middle(x, steps, n, &h);
        array_residuals(r, x, steps, n, &h);
        memset(hist, 0, sizeof(hist));
        for (size_t i = 0; i < n; i++)
            hist[abs(r[i]) < HIST ? abs(r[i]) : HIST - 1]++;
        for (unsigned s = 0; s < UC_CODED_SHAPES; s++)
            for (int c = UC_CODED_CLASSES - 1; c >= 12; c--) {
                uint64_t cost = residual_cost(&models[s].c[c], hist);
                if (cost < least) {
                    least = cost;
                    *best = h;
                    best->table = (uint8_t)(s << 5 | (unsigned)c);
                }
            }
    }
    array_residuals(r, x, steps, n, best);
}

/* The largest power of two, up to 32, by which all values differ from an offset below 8. */
static void find_unit(struct coded_array *a, const int16_t *x, size_t n)
{
    unsigned differ = 32;

    for (size_t i = 1; i < n; i++)
        differ |= (unsigned)(uint16_t)(x[i] - x[0]);
    a->unit = (uint8_t)__builtin_ctz(differ);
    if (((unsigned)(uint16_t)x[0] & ((1u << a->unit) - 1)) > 7)
        a->unit = 3;
    a->offset = (uint8_t)((unsigned)(uint16_t)x[0] & ((1u << a->unit) - 1));
}

static int put_side(const struct uc_coded_side *s, struct uc_buf *out, struct uc_err *err)
{
    const int16_t *x[CODED_ARRAYS] = {s->col_step, s->col_class, s->row_step, s->row_class};
    const int16_t *steps[CODED_ARRAYS] = {NULL, s->col_step, NULL, s->row_step};
    size_t n[CODED_ARRAYS] = {s->n, s->n, s->m, s->m};
    struct coded_array head[CODED_ARRAYS];
    int32_t *r[CODED_ARRAYS] = {NULL};
    struct rans_model *models = NULL;
    struct rans_enc e = {.words = NULL};
    int rc = uc_alloc(&models, UC_CODED_SHAPES, sizeof(*models), "coder tables", err);

    if (rc == 0)
        rc = enc_init(&e, 2 * (s->m + s->n), err);
    for (unsigned k = 0; rc == 0 && k < UC_CODED_SHAPES; k++)
        uc_rans_model_init(&models[k], k);
    for (int a = 0; rc == 0 && a < CODED_ARRAYS; a++) {
        rc = uc_alloc(&r[a], n[a], sizeof(**r), "side information", err);
        if (rc < 0)
            break;
        head[a] = (struct coded_array){0};
        if (!steps[a])
            find_unit(&head[a], x[a], n[a]);
        choose_array(&head[a], models, x[a], steps[a], n[a], r[a]);
        coded_array_put(&head[a], out);
    }
    for (int a = CODED_ARRAYS; rc == 0 && a-- > 0;)
        for (size_t i = n[a]; rc == 0 && i-- > 0;)
            rc =
                enc_code(&e, 0, &models[head[a].table >> 5].c[head[a].table & 31], 0, r[a][i], err);
    if (rc == 0)
        rc = enc_finish(&e, 1, out, err);
    for (int a = 0; a < CODED_ARRAYS; a++)
        free(r[a]);
    free(e.words);
    free(models);
    return rc;
}

static int in_range(const int16_t *x, size_t n, int low, int high, const char *what,
                    struct uc_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] < low || x[i] > high)
            return uc_fail(err, UC_EFAIL, "%s %d is out of the stream's range", what, x[i]);
    return 0;
}

static int check_side(const struct uc_coded_side *s, size_t n_chunks, struct uc_err *err)
{
    if (s->m == 0 || s->n == 0 || s->m > CODED_DIM_MAX || s->n > CODED_DIM_MAX ||
        s->chunk_rows == 0 || s->chunk_rows > CODED_DIM_MAX ||
        n_chunks != (s->m - 1) / s->chunk_rows + 1)
        return uc_fail(err, UC_EFAIL, "a coded stream cannot hold %llu x %llu in %zu chunks",
                       (unsigned long long)s->m, (unsigned long long)s->n, n_chunks);
    if (s->mode == UC_CODED_RAW)
        return 0;
    if (in_range(s->row_step, s->m, UC_CODED_STEP_MIN, UC_CODED_STEP_MAX, "row step", err) < 0 ||
        in_range(s->col_step, s->n, UC_CODED_STEP_MIN, UC_CODED_STEP_MAX, "column step", err) < 0)
        return err->code;
    if (in_range(s->row_class, s->m, UC_CODED_CLASS_MIN, UC_CODED_CLASS_MAX, "row class", err) < 0)
        return err->code;
    return in_range(s->col_class, s->n, UC_CODED_CLASS_MIN, UC_CODED_CLASS_MAX, "column class",
                    err);
}

int uc_coded_put_stream(const struct uc_coded_side *side, const struct uc_buf *chunks,
                        size_t n_chunks, struct uc_buf *out, struct uc_err *err)
{
    struct uc_buf body;
    struct coded_header h = {
        .version = CODED_VERSION,
        .mode = (uint8_t)side->mode,
        .shape = (uint8_t)side->shape,
        .m = (uint32_t)side->m,
        .n = (uint32_t)side->n,
        .chunk_rows = side->chunk_rows,
        .log2_c = side->log2_c,
    };
    int rc = check_side(side, n_chunks, err);

    if (rc < 0)
        return rc;
    uc_buf_init(&body, (size_t)64 * (side->m + side->n) + n_chunks * CODED_CHUNK_ENTRY + 4096);
    for (size_t i = 0; i < n_chunks; i++) {
        uc_buf_add_u32(&body, (uint32_t)chunks[i].len);
        uc_buf_add_u32(&body, uc_crc32(0, chunks[i].data, chunks[i].len));
    }
    if (side->mode != UC_CODED_RAW)
        rc = put_side(side, &body, err);
    if (rc == 0)
        rc = uc_buf_check(&body, "side information", err);
    if (rc == 0) {
        h.side_len = (uint32_t)(body.len - n_chunks * CODED_CHUNK_ENTRY);
        coded_header_put(&h, body.data, body.len, out);
        uc_buf_add(out, body.data, body.len);
        for (size_t i = 0; i < n_chunks; i++)
            uc_buf_add(out, chunks[i].data, chunks[i].len);
        rc = uc_buf_check(out, "coded stream", err);
    }
    uc_buf_release(&body);
    return rc;
}
