/* Writes streams of made-up matrices and what our reader decodes, for uca_decode.py to compare. */
#include <stdio.h>
#include <stdlib.h>

#include "base/fsio.h"
#include "base/mem.h"
#include "base/rng.h"
#include "formats/coded.h"
#include "formats/coded_enc.h"

static uint32_t draw(uint64_t stream, uint64_t i)
{
    uint32_t w[4];

    uc_philox(23, stream, i, w);
    return w[0];
}

struct shape {
    uint32_t m, n, chunk_rows, shape;
    int large; /* bits of the largest codes */
};

static int16_t *fill(size_t n, uint64_t stream, int low, int span, int unit)
{
    int16_t *x = uc_xcalloc(n, sizeof(*x));

    for (size_t i = 0; i < n; i++)
        x[i] = (int16_t)(low + unit * (int)(draw(stream, i) % (unsigned)span));
    return x;
}

static int32_t *make_codes(const struct shape *s)
{
    size_t n = (size_t)s->m * s->n;
    int32_t *x = uc_xcalloc(n, sizeof(*x));

    for (size_t i = 0; i < n; i++) {
        int32_t size = (int32_t)(draw(5, i) >> (32 - 1 - draw(6, i) % (unsigned)s->large));
        x[i] = draw(7, i) & 1 ? -size : size;
    }
    return x;
}

static int write_sample(const char *dir, int index, const struct shape *s, struct uc_err *err)
{
    int16_t *a[4] = {fill(s->m, 1, -62, 9, 4), fill(s->m, 2, 6, 8, 1), fill(s->n, 3, -220, 40, 1),
                     fill(s->n, 4, 10, s->large, 4)};
    int32_t *codes = make_codes(s);
    struct uc_coded_side side = {s->m, s->n, s->chunk_rows, UC_CODED_SCALAR, s->shape, -3200, a[0],
                                 a[1], a[2], a[3]};
    struct uc_coded_coder *coder = uc_coded_coder_new(s->shape, err);
    size_t n_chunks = (s->m - 1) / s->chunk_rows + 1;
    struct uc_buf *chunks = uc_xcalloc(n_chunks, sizeof(*chunks)), out;
    uint16_t *rows = uc_xcalloc((size_t)s->m * s->n, sizeof(*rows));
    char *path = uc_xasprintf("%s/%d.uca", dir, index),
         *plain = uc_xasprintf("%s/%d.bf16", dir, index);
    int rc = coder ? 0 : err->code;

    uc_buf_init(&out, 0);
    for (size_t k = 0; rc == 0 && k < n_chunks; k++) {
        size_t first = k * s->chunk_rows, left = s->m - first;
        uc_buf_init(&chunks[k], 0);
        rc = uc_coded_put_chunk(coder, a[1] + first, a[3],
                                left < s->chunk_rows ? left : s->chunk_rows, s->n,
                                codes + first * s->n, &chunks[k], err);
    }
    if (rc == 0)
        rc = uc_coded_put_stream(&side, chunks, n_chunks, &out, err);
    if (rc == 0)
        rc = uc_coded_decode_rows(out.data, out.len, 0, s->m, rows, err);
    if (rc == 0)
        rc = uc_write_file(path, out.data, out.len, false, err);
    if (rc == 0)
        rc = uc_write_file(plain, rows, 2 * (size_t)s->m * s->n, false, err);
    for (size_t k = 0; k < n_chunks; k++)
        uc_buf_release(&chunks[k]);
    for (int k = 0; k < 4; k++)
        free(a[k]);
    uc_buf_release(&out);
    uc_coded_coder_free(coder);
    free(chunks);
    free(codes);
    free(rows);
    free(path);
    free(plain);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {1, 1, 1, 0, 1},   {37, 23, 16, 1, 4}, {64, 48, 64, 3, 6},
        {5, 90, 2, 5, 12}, {40, 30, 7, 7, 23},
    };
    struct uc_err err;

    if (argc != 2)
        return 2;
    for (size_t i = 0; i < UC_COUNT(shapes); i++)
        if (write_sample(argv[1], (int)i, &shapes[i], &err) < 0) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
    return 0;
}
