/* One whole tensor: chunks of rows are rounded and coded independently, then put together. */
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "engine/ops/track_a.h"
#include "formats/coded.h"
#include "formats/coded_enc.h"

enum {
    TILE = UC_LDLQ_LANES * UC_LDLQ_PANELS,
    SAMPLE_ROWS = 512,
    CHUNK_WEIGHTS = 1 << 17, /* about; a chunk costs 24 bytes and is decoded as a whole */
};

struct quantize_job {
    struct ta_plan *p;
    const struct ta_tensor *t;
    const struct ta_tables *tables;
    const struct uc_coded_coder *coder;
    uint32_t chunk_rows;
    size_t n_chunks, threads;
    struct uc_buf *chunks;
    struct ta_result *results;  /* one a chunk: sums are added in row order */
    struct ta_scratch *scratch; /* one a thread */
    struct uc_err *errors;      /* one a chunk */
};

static uint32_t rows_per_chunk(const struct ta_tensor *t)
{
    size_t tiles = (CHUNK_WEIGHTS + TILE * t->n / 2) / (TILE * t->n);

    return (uint32_t)(TILE * (tiles ? tiles : 1));
}

static void run_chunk(void *arg, size_t item, int thread)
{
    struct quantize_job *job = arg;
    const struct ta_tensor *t = job->t;
    struct ta_scratch *s = &job->scratch[thread];
    struct ta_result *r = &job->results[item];
    size_t first = item * job->chunk_rows, left = t->m - first;
    size_t rows = left < job->chunk_rows ? left : job->chunk_rows;

    for (size_t i = 0; i < rows; i += TILE)
        ta_round_rows(job->p, t, job->tables, NULL, first + i, rows - i < TILE ? rows - i : TILE,
                      s->codes + i * t->n, s, r);
    for (size_t i = 0; i < rows; i++)
        ta_fit_row(&job->p->row_class[first + i], job->p, t, job->tables, s->codes + i * t->n);
    for (size_t i = 0; i < rows * t->n; i++)
        r->escapes += s->codes[i] > UC_CODED_K || s->codes[i] < -UC_CODED_K;
    uc_coded_put_chunk(job->coder, job->p->row_class + first, job->p->col_class, rows, t->n,
                       s->codes, &job->chunks[item], &job->errors[item]);
}

static int job_init(struct quantize_job *job, struct uc_pool *pool, struct uc_err *err)
{
    const struct ta_tensor *t = job->t;
    int rc;

    job->chunk_rows = rows_per_chunk(t);
    job->n_chunks = (t->m - 1) / job->chunk_rows + 1;
    job->threads = (size_t)uc_pool_threads(pool);
    rc = uc_alloc(&job->chunks, job->n_chunks, sizeof(*job->chunks), "chunks", err);
    if (rc == 0)
        rc = uc_alloc(&job->results, job->n_chunks, sizeof(*job->results), "chunks", err);
    if (rc == 0)
        rc = uc_alloc(&job->errors, job->n_chunks, sizeof(*job->errors), "chunks", err);
    if (rc == 0)
        rc = uc_alloc(&job->scratch, job->threads, sizeof(*job->scratch), "threads", err);
    for (size_t k = 0; rc == 0 && k < job->threads; k++)
        rc = ta_scratch_init(&job->scratch[k], t->n,
                             job->chunk_rows < t->m ? job->chunk_rows : t->m, err);
    for (size_t k = 0; rc == 0 && k < job->n_chunks; k++)
        uc_buf_init(&job->chunks[k], SIZE_MAX / 2);
    return rc;
}

static void job_release(struct quantize_job *job)
{
    for (size_t k = 0; job->chunks && k < job->n_chunks; k++)
        uc_buf_release(&job->chunks[k]);
    for (size_t k = 0; job->scratch && k < job->threads; k++)
        ta_scratch_release(&job->scratch[k]);
    free(job->chunks);
    free(job->results);
    free(job->errors);
    free(job->scratch);
}

static int job_finish(struct quantize_job *job, struct uc_buf *stream, struct ta_result *total,
                      struct uc_err *err)
{
    const struct ta_plan *p = job->p;
    struct uc_coded_side side = {
        .m = job->t->m,
        .n = job->t->n,
        .chunk_rows = job->chunk_rows,
        .mode = UC_CODED_SCALAR,
        .shape = p->shape,
        .log2_c = p->log2_c,
        .row_step = p->row_step,
        .row_class = p->row_class,
        .col_step = p->col_step,
        .col_class = p->col_class,
    };

    for (size_t k = 0; k < job->n_chunks; k++) {
        const struct ta_result *r = &job->results[k];
        if (job->errors[k].code) {
            *err = job->errors[k];
            return err->code;
        }
        total->damage += r->damage;
        total->square += r->square;
        total->weight2 += r->weight2;
        total->escapes += r->escapes;
    }
    return uc_coded_put_stream(&side, job->chunks, job->n_chunks, stream, err);
}

int ta_digest(const uint8_t *stream, size_t n, char hex[65], struct uc_err *err)
{
    struct uc_coded *c = uc_coded_open(stream, n, err);
    const struct uc_coded_info *info;
    struct uc_hash *hash = NULL;
    uint16_t *rows = NULL;
    struct uc_digest digest;
    int rc;

    if (!c)
        return err->code;
    info = uc_coded_get_info(c);
    rc = uc_alloc(&rows, info->chunk_rows < info->m ? info->chunk_rows : info->m, 2 * info->n,
                  "decoded rows", err);
    if (rc == 0)
        hash = uc_hash_new();
    for (uint64_t r = 0; rc == 0 && r < info->m; r += info->chunk_rows) {
        uint64_t count = info->m - r < info->chunk_rows ? info->m - r : info->chunk_rows;
        rc = uc_coded_rows(c, r, count, rows, err);
        if (rc == 0)
            uc_hash_add(hash, rows, count * info->n * 2);
    }
    if (rc == 0) {
        uc_hash_end(hash, &digest);
        uc_digest_hex(&digest, hex);
    }
    uc_hash_free(hash);
    free(rows);
    uc_coded_close(c);
    return rc;
}

static int make_info(const struct quantize_job *job, const struct ta_result *r,
                     const struct uc_buf *stream, json_t **out, struct uc_err *err)
{
    const struct ta_tensor *t = job->t;
    struct uc_coded_info info;
    char hex[65];

    if (uc_coded_info(stream->data, stream->len, &info, err) < 0 ||
        ta_digest(stream->data, stream->len, hex, err) < 0)
        return err->code;
    *out = json_pack(
        "{s:I,s:I,s:s,s:f,s:I,s:f,s:I,s:I,s:I,s:f,s:i,s:f,s:s}", "bytes", (json_int_t)stream->len,
        "cols", (json_int_t)t->n, "kind", t->embed ? "embed" : "linear", "bpw",
        8.0 * (double)stream->len / ((double)t->m * (double)t->n), "escapes",
        (json_int_t)r->escapes, "damage", r->damage, "log2_c_256", (json_int_t)job->p->log2_c,
        "payload_bytes", (json_int_t)info.chunk_bytes, "rows", (json_int_t)t->m, "relative_error",
        r->weight2 > 0 ? r->square / r->weight2 : 0.0, "shape", (int)job->p->shape, "scale",
        t->scale, "sha256", hex);
    if (!*out)
        return uc_fail(err, UC_EFAIL, "the quantized tensor's figures are not finite");
    json_object_set_new(*out, "side_bytes", json_integer((json_int_t)info.side_bytes));
    return 0;
}

int ta_quantize(const struct ta_tensor *t, const struct ta_tables *tables, int log2_c,
                struct uc_pool *pool, struct uc_buf *stream, json_t **info, struct uc_err *err)
{
    struct ta_plan plan;
    struct ta_result total = {0};
    struct quantize_job job = {.p = &plan, .t = t, .tables = tables};
    struct uc_coded_coder *coder = NULL;
    int rc = ta_plan_init(&plan, t, log2_c, err);

    if (rc < 0)
        return rc;
    rc = ta_fit(&plan, t, tables, SAMPLE_ROWS, pool, NULL, err);
    if (rc == 0)
        rc = job_init(&job, pool, err);
    if (rc == 0) {
        job.coder = coder = uc_coded_coder_new(plan.shape, err);
        rc = coder ? 0 : err->code;
    }
    if (rc == 0) {
        uc_pool_run(pool, job.n_chunks, run_chunk, &job);
        rc = job_finish(&job, stream, &total, err);
    }
    if (rc == 0)
        rc = make_info(&job, &total, stream, info, err);
    job_release(&job);
    uc_coded_coder_free(coder);
    ta_plan_release(&plan);
    return rc;
}
