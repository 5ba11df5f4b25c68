#include "formats/coded.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "formats/coded_enc.h"
#include "formats/coded_layout.h"
#include "formats/coded_rans.h"

struct uc_coded {
    struct uc_coded_info info;
    const uint8_t *table;  /* chunk table */
    const uint8_t *chunks; /* first chunk */
    uint64_t *offset;      /* n_chunks + 1, from chunks */
    int16_t *arrays[CODED_ARRAYS];
    float *col_step;
    struct rans_model model;
};

enum { COL_STEP, COL_CLASS, ROW_STEP, ROW_CLASS };

/* --- Tables and layout ------------------------------------------------------------------------ */

void uc_rans_model_init(struct rans_model *m, unsigned shape)
{
    for (int k = 0; k < UC_CODED_CLASSES; k++) {
        struct rans_class *c = &m->c[k];
        const uint16_t *f = uc_coded_freq[shape][k];
        unsigned cum = 0;

        c->k_max = UC_CODED_K;
        while (f[c->k_max] == 0)
            c->k_max--;
        for (int s = 0; s < RANS_SYMBOLS; s++) {
            c->freq[s] = s == RANS_ESCAPE ? f[UC_CODED_K + 1] : f[abs(s - UC_CODED_K)];
            c->cum[s] = (uint16_t)cum;
            for (unsigned b = (cum + 63) / 64; b < (cum + c->freq[s] + 63) / 64; b++)
                c->first[b] = (uint8_t)s;
            cum += c->freq[s];
        }
    }
}

static void put_le(uint8_t *p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void coded_header_put(const struct coded_header *h, const uint8_t *body, size_t n,
                      struct uc_buf *out)
{
    uint8_t p[CODED_HEADER] = {'U', 'C', 'A', '1'};

    put_le(p + 4, h->version, 2);
    p[6] = h->mode;
    p[7] = h->shape;
    put_le(p + 8, h->m, 4);
    put_le(p + 12, h->n, 4);
    put_le(p + 16, h->chunk_rows, 4);
    put_le(p + 20, (uint32_t)h->log2_c, 4);
    put_le(p + 24, h->side_len, 4);
    put_le(p + 28, uc_crc32(uc_crc32(0, p, 28), body, n), 4);
    uc_buf_add(out, p, sizeof(p));
}

void coded_header_get(struct coded_header *h, const uint8_t *p, uint32_t *crc, uint32_t *stored)
{
    h->version = (uint16_t)(p[4] | p[5] << 8);
    h->mode = p[6];
    h->shape = p[7];
    h->m = coded_u32(p + 8);
    h->n = coded_u32(p + 12);
    h->chunk_rows = coded_u32(p + 16);
    h->log2_c = (int32_t)coded_u32(p + 20);
    h->side_len = coded_u32(p + 24);
    *stored = coded_u32(p + 28);
    *crc = uc_crc32(0, p, 28);
}

void coded_array_put(const struct coded_array *a, struct uc_buf *out)
{
    uc_buf_addc(out, a->flags | a->unit << 2 | a->offset << 5);
    uc_buf_addc(out, a->table);
    uc_buf_add_u16(out, (uint16_t)a->base);
}

void coded_array_get(struct coded_array *a, const uint8_t *p)
{
    a->flags = p[0] & 3;
    a->unit = p[0] >> 2 & 7;
    a->offset = p[0] >> 5;
    a->table = p[1];
    a->base = (int16_t)(p[2] | p[3] << 8);
}

/* --- Header ----------------------------------------------------------------------------------- */

static int corrupt(struct uc_err *err, const char *what)
{
    return uc_fail(err, UC_ECORRUPT, "coded weights: %s", what);
}

static int check_header(const struct coded_header *h, struct uc_err *err)
{
    if (h->version != CODED_VERSION)
        return uc_fail(err, UC_EREFUSED, "coded weights: stream version %u is not known",
                       h->version);
    if (h->mode != UC_CODED_SCALAR && h->mode != UC_CODED_RAW)
        return uc_fail(err, UC_EREFUSED, "coded weights: stream mode %u is not known", h->mode);
    if (h->shape >= UC_CODED_SHAPES || h->m == 0 || h->n == 0 || h->chunk_rows == 0 ||
        h->m > CODED_DIM_MAX || h->n > CODED_DIM_MAX || h->chunk_rows > CODED_DIM_MAX)
        return corrupt(err, "impossible header values");
    return 0;
}

static int check_chunks(struct uc_coded_info *i, const uint8_t *table, size_t n, struct uc_err *err)
{
    uint64_t total = 0, rows, len;

    for (uint32_t k = 0; k < i->n_chunks; k++) {
        len = coded_u32(table + (size_t)CODED_CHUNK_ENTRY * k);
        rows = k + 1 < i->n_chunks ? i->chunk_rows : i->m - (uint64_t)k * i->chunk_rows;
        if (i->mode == UC_CODED_RAW ? len != 2 * rows * i->n : len < 4 * RANS_LANES || len % 2)
            return corrupt(err, "a chunk's length is impossible");
        total += len;
    }
    if (i->side_bytes + total != n)
        return corrupt(err, "chunk lengths do not add up to the stream's size");
    i->chunk_bytes = total;
    return 0;
}

int uc_coded_info(const uint8_t *stream, size_t n, struct uc_coded_info *info, struct uc_err *err)
{
    struct coded_header h;
    uint32_t crc, stored;
    uint64_t n_chunks, side;

    if (n < CODED_HEADER || memcmp(stream, "UCA1", 4) != 0)
        return corrupt(err, "not a UCA1 stream");
    coded_header_get(&h, stream, &crc, &stored);
    if (check_header(&h, err) < 0)
        return err->code;
    n_chunks = ((uint64_t)h.m - 1) / h.chunk_rows + 1;
    side = CODED_HEADER + n_chunks * CODED_CHUNK_ENTRY + h.side_len;
    if (side > n)
        return corrupt(err, "header is longer than the stream");
    if (uc_crc32(crc, stream + CODED_HEADER, side - CODED_HEADER) != stored)
        return corrupt(err, "checksum of the header does not match");
    *info = (struct uc_coded_info){
        .version = h.version,
        .mode = h.mode,
        .m = h.m,
        .n = h.n,
        .chunk_rows = h.chunk_rows,
        .n_chunks = (uint32_t)n_chunks,
        .shape = h.shape,
        .log2_c = h.log2_c,
        .side_bytes = side,
    };
    return check_chunks(info, stream + CODED_HEADER, n, err);
}

/* --- Symbols ---------------------------------------------------------------------------------- */

struct rans_dec {
    uint32_t x[RANS_LANES];
    const uint8_t *p, *end;
    bool bad; /* read past the end, or an impossible code */
};

static void dec_init(struct rans_dec *d, int lanes, const uint8_t *p, const uint8_t *end)
{
    *d = (struct rans_dec){.p = p + 4 * lanes, .end = end};
    for (int l = 0; l < lanes; l++) {
        d->x[l] = coded_u32(p + 4 * l);
        d->bad |= d->x[l] < RANS_LOW;
    }
}

/* Leaves the interval [start, start + freq) that the state's slot lies in. */
static inline void dec_leave(struct rans_dec *d, int lane, uint32_t start, uint32_t freq)
{
    uint32_t x = d->x[lane], slot = x & ((1u << UC_CODED_FREQ_BITS) - 1);

    x = freq * (x >> UC_CODED_FREQ_BITS) + slot - start;
    if (x < RANS_LOW) {
        if (d->end - d->p < 2) {
            d->bad = true;
            x |= RANS_LOW;
        } else {
            x = x << 16 | d->p[0] | (uint32_t)d->p[1] << 8;
            d->p += 2;
        }
    }
    d->x[lane] = x;
}

static uint32_t dec_raw(struct rans_dec *d, int lane, int bits)
{
    uint32_t value = 0;

    for (int done = 0; done < bits; done += RANS_RAW_MAX) {
        int b = bits - done < RANS_RAW_MAX ? bits - done : RANS_RAW_MAX;
        int drop = UC_CODED_FREQ_BITS - b;
        uint32_t part = (d->x[lane] & ((1u << UC_CODED_FREQ_BITS) - 1)) >> drop;
        value |= part << done;
        dec_leave(d, lane, part << drop, 1u << drop);
    }
    return value;
}

/* Escapes and shifted codes, the rare path: q is the symbol's value, or escape. */
static int32_t dec_rest(struct rans_dec *d, int lane, const struct rans_class *c, int shift,
                        int symbol)
{
    int64_t q = symbol - UC_CODED_K, code;

    if (symbol == RANS_ESCAPE) {
        int bits = (int)dec_raw(d, lane, 5);
        if (bits > 25) {
            d->bad = true;
            return 0;
        }
        q = c->k_max + (int64_t)((1u << bits) + dec_raw(d, lane, bits));
        if (dec_raw(d, lane, 1))
            q = -q;
    }
    code = q * (1 << shift);
    if (shift)
        code += (int64_t)dec_raw(d, lane, shift) - (1 << (shift - 1));
    if (code > CODED_CODE_MAX || code < -CODED_CODE_MAX) {
        d->bad = true;
        return 0;
    }
    return (int32_t)code;
}

static inline int32_t dec_code(struct rans_dec *d, int lane, const struct rans_class *c, int shift)
{
    uint32_t slot = d->x[lane] & ((1u << UC_CODED_FREQ_BITS) - 1);
    int s = c->first[slot >> 6];

    while (slot - c->cum[s] >= c->freq[s])
        s++;
    dec_leave(d, lane, c->cum[s], c->freq[s]);
    if (shift == 0 && s != RANS_ESCAPE)
        return s - UC_CODED_K;
    return dec_rest(d, lane, c, shift, s);
}

/* Every word is used and every state is back where the encoder began. */
static bool dec_done(const struct rans_dec *d, int lanes)
{
    bool ok = !d->bad && d->p == d->end;

    for (int l = 0; l < lanes; l++)
        ok = ok && d->x[l] == RANS_LOW;
    return ok;
}

/* --- Side information ------------------------------------------------------------------------- */

static int read_array(struct rans_dec *d, const struct coded_array *a, const struct rans_class *c,
                      const int16_t *steps, int16_t *x, size_t n, int low, int high)
{
    int64_t last = a->base;

    for (size_t i = 0; i < n; i++) {
        int64_t z = last + dec_code(d, 0, c, 0);
        int64_t v =
            coded_array_linked(a) ? z - coded_link(steps[i]) : z * (1 << a->unit) + a->offset;
        if (d->bad || v < low || v > high)
            return -1;
        x[i] = (int16_t)v;
        if (a->flags & CODED_ARRAY_DELTA)
            last = z;
    }
    return 0;
}

static int read_side(struct uc_coded *c, const uint8_t *p, size_t len, struct uc_err *err)
{
    struct rans_model *model = NULL;
    struct rans_dec d;
    int rc;

    if (len < CODED_ARRAYS * CODED_ARRAY_HEAD + 4 || len % 2)
        return corrupt(err, "side information is too short");
    rc = uc_alloc(&model, 1, sizeof(*model), "coder tables", err);
    if (rc < 0)
        return rc;
    dec_init(&d, 1, p + CODED_ARRAYS * CODED_ARRAY_HEAD, p + len);
    for (int i = 0; rc == 0 && i < CODED_ARRAYS; i++) {
        bool step = i == COL_STEP || i == ROW_STEP;
        size_t n = i < ROW_STEP ? c->info.n : c->info.m;
        struct coded_array a;

        coded_array_get(&a, p + i * CODED_ARRAY_HEAD);
        if (a.unit > 5 || (!step && (a.unit || a.offset)) || (step && coded_array_linked(&a))) {
            rc = corrupt(err, "side information names an unknown predictor");
            break;
        }
        rc = uc_alloc(&c->arrays[i], n, sizeof(int16_t), "side information", err);
        if (rc < 0)
            break;
        uc_rans_model_init(model, a.table >> 5);
        if (read_array(&d, &a, &model->c[a.table & 31], step ? NULL : c->arrays[i - 1],
                       c->arrays[i], n, step ? UC_CODED_STEP_MIN : UC_CODED_CLASS_MIN,
                       step ? UC_CODED_STEP_MAX : UC_CODED_CLASS_MAX) < 0)
            rc = corrupt(err, "side information is damaged");
    }
    if (rc == 0 && !dec_done(&d, 1))
        rc = corrupt(err, "side information does not end where it should");
    free(model);
    return rc;
}

struct uc_coded *uc_coded_open(const uint8_t *stream, size_t n, struct uc_err *err)
{
    struct uc_coded_info info;
    struct uc_coded *c = NULL;
    size_t table;

    if (uc_coded_info(stream, n, &info, err) < 0 ||
        uc_alloc(&c, 1, sizeof(*c), "coded weights", err) < 0)
        return NULL;
    c->info = info;
    c->table = stream + CODED_HEADER;
    c->chunks = stream + info.side_bytes;
    table = (size_t)info.n_chunks * CODED_CHUNK_ENTRY;
    if (uc_alloc(&c->offset, (size_t)info.n_chunks + 1, sizeof(*c->offset), "chunk table", err) < 0)
        goto fail;
    for (uint32_t k = 0; k < info.n_chunks; k++)
        c->offset[k + 1] = c->offset[k] + coded_u32(c->table + (size_t)CODED_CHUNK_ENTRY * k);
    if (info.mode == UC_CODED_RAW)
        return c;
    uc_rans_model_init(&c->model, info.shape);
    if (read_side(c, c->table + table, info.side_bytes - CODED_HEADER - table, err) < 0 ||
        uc_alloc(&c->col_step, info.n, sizeof(float), "column steps", err) < 0)
        goto fail;
    for (uint64_t j = 0; j < info.n; j++)
        c->col_step[j] = uc_coded_step(c->arrays[COL_STEP][j]);
    return c;
fail:
    uc_coded_close(c);
    return NULL;
}

void uc_coded_close(struct uc_coded *c)
{
    if (!c)
        return;
    for (int i = 0; i < CODED_ARRAYS; i++)
        free(c->arrays[i]);
    free(c->col_step);
    free(c->offset);
    free(c);
}

const struct uc_coded_info *uc_coded_get_info(const struct uc_coded *c)
{
    return &c->info;
}

/* --- Rows ------------------------------------------------------------------------------------- */

static inline uint16_t to_bf16(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float uc_coded_step(int step)
{
    uint32_t bits = uc_coded_pow[step & 31] + ((uint32_t)(step >> 5) << 23);
    float size;

    memcpy(&size, &bits, sizeof(size));
    return size;
}

uint16_t uc_coded_value(int32_t code, float row_step, float col_step)
{
    return to_bf16((float)code * (row_step * col_step));
}

/* Codes of one row; lane counts on over the chunk. */
static void read_row(struct rans_dec *d, const struct uc_coded *c, uint64_t row, unsigned *lane,
                     int32_t *code)
{
    int base = c->arrays[ROW_CLASS][row], shift;
    const int16_t *col = c->arrays[COL_CLASS];

    for (uint64_t j = 0; j < c->info.n; j++) {
        int k = coded_class(base + col[j], &shift);
        code[j] = dec_code(d, (int)(*lane % RANS_LANES), &c->model.c[k], shift);
        ++*lane;
    }
}

/* Decodes chunk k; stores those of its rows that lie in [row0, row0 + n_rows). */
static int read_chunk(const struct uc_coded *c, uint32_t k, uint64_t row0, uint64_t n_rows,
                      uint16_t *out, int32_t *code, struct uc_err *err)
{
    const uint8_t *p = c->chunks + c->offset[k], *end = c->chunks + c->offset[k + 1];
    uint64_t first = (uint64_t)k * c->info.chunk_rows, last = first + c->info.chunk_rows;
    uint64_t n = c->info.n;
    struct rans_dec d;
    unsigned lane = 0;
    float step;

    last = last < c->info.m ? last : c->info.m;
    if (uc_crc32(0, p, (size_t)(end - p)) !=
        coded_u32(c->table + (size_t)CODED_CHUNK_ENTRY * k + 4))
        return uc_fail(err, UC_ECORRUPT, "coded weights: checksum of chunk %u does not match", k);
    dec_init(&d, RANS_LANES, p, end);
    for (uint64_t r = first; r < last; r++) {
        read_row(&d, c, r, &lane, code);
        if (d.bad)
            return uc_fail(err, UC_ECORRUPT, "coded weights: chunk %u is damaged", k);
        if (r < row0 || r >= row0 + n_rows)
            continue;
        step = uc_coded_step(c->arrays[ROW_STEP][r]);
        for (uint64_t j = 0; j < n; j++)
            out[(r - row0) * n + j] = uc_coded_value(code[j], step, c->col_step[j]);
    }
    if (!dec_done(&d, RANS_LANES))
        return uc_fail(err, UC_ECORRUPT, "coded weights: chunk %u does not end where it should", k);
    return 0;
}

static int read_raw(const struct uc_coded *c, uint32_t k, uint64_t row0, uint64_t n_rows,
                    uint16_t *out, struct uc_err *err)
{
    const uint8_t *p = c->chunks + c->offset[k];
    uint64_t first = (uint64_t)k * c->info.chunk_rows;
    size_t len = (size_t)(c->offset[k + 1] - c->offset[k]);

    if (uc_crc32(0, p, len) != coded_u32(c->table + (size_t)CODED_CHUNK_ENTRY * k + 4))
        return uc_fail(err, UC_ECORRUPT, "coded weights: checksum of chunk %u does not match", k);
    for (uint64_t i = 0; i < len / 2; i++) {
        uint64_t r = first + i / c->info.n;
        if (r >= row0 && r < row0 + n_rows)
            out[(r - row0) * c->info.n + i % c->info.n] = (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
    }
    return 0;
}

int uc_coded_rows(const struct uc_coded *c, uint64_t row0, uint64_t n_rows, uint16_t *out,
                  struct uc_err *err)
{
    int32_t *code = NULL;
    int rc = 0;

    if (row0 > c->info.m || n_rows > c->info.m - row0)
        return uc_fail(err, UC_EFAIL, "coded weights: rows %llu + %llu of %llu",
                       (unsigned long long)row0, (unsigned long long)n_rows,
                       (unsigned long long)c->info.m);
    if (n_rows == 0)
        return 0;
    if (c->info.mode != UC_CODED_RAW)
        rc = uc_alloc(&code, c->info.n, sizeof(*code), "codes of a row", err);
    for (uint64_t k = row0 / c->info.chunk_rows;
         rc == 0 && k <= (row0 + n_rows - 1) / c->info.chunk_rows; k++)
        rc = c->info.mode == UC_CODED_RAW
                 ? read_raw(c, (uint32_t)k, row0, n_rows, out, err)
                 : read_chunk(c, (uint32_t)k, row0, n_rows, out, code, err);
    free(code);
    return rc;
}

int uc_coded_decode_rows(const uint8_t *stream, size_t n, uint64_t row0, uint64_t n_rows,
                         uint16_t *bf16_out, struct uc_err *err)
{
    struct uc_coded *c = uc_coded_open(stream, n, err);
    int rc;

    if (!c)
        return err->code;
    rc = uc_coded_rows(c, row0, n_rows, bf16_out, err);
    uc_coded_close(c);
    return rc;
}
