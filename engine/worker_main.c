/* The worker's own side: reads the job, maps the inputs, runs the op, seals the outputs. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/worker.h"

enum { REPORT_FD = 3, JOB_MAX = 64 << 20 };

struct task {
    json_t *job;
    const struct uc_op *op;
    struct uc_op_ctx ctx;
    struct uc_op_input *inputs;
    struct uc_op_output *outputs;
    int bad_input;
    double last_progress;
};

static void report(json_t *line)
{
    char *text = uc_json_canonical(line);
    size_t n = strlen(text);

    /* A broken pipe means that the engine is gone, and then this process is about to be. */
    text[n] = '\n';
    uc_write_all(REPORT_FD, text, n + 1, "report", NULL);
    free(text);
    json_decref(line);
}

static void progress(struct uc_op_ctx *ctx, uint64_t done, uint64_t total, const char *unit)
{
    struct task *t = ctx->host;
    double now = uc_now();

    if (done < total && now - t->last_progress < 0.1)
        return;
    t->last_progress = now;
    report(json_pack("{s:[I,I,s]}", "progress", (json_int_t)done, (json_int_t)total,
                     unit ? unit : ""));
}

static int map_input(struct uc_op_input *in, struct uc_err *err)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), skip = in->offset % page;
    struct stat st;
    int fd, rc = 0;
    void *p;

    if (in->size == 0)
        return 0;
    fd = open(in->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return uc_fail_errno(err, "input '%s': %s", in->name, in->path);
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size < in->offset + in->size) {
        rc = uc_fail(err, UC_EFAIL, "input '%s': %s is shorter than it was when planned", in->name,
                     in->path);
    } else {
        p = mmap(NULL, in->size + skip, PROT_READ, MAP_SHARED, fd, (off_t)(in->offset - skip));
        if (p == MAP_FAILED)
            rc = uc_fail_errno(err, "input '%s': mmap %s", in->name, in->path);
        else
            in->data = (const uint8_t *)p + skip;
        in->mapped = in->data != NULL;
    }
    close(fd);
    return rc;
}

static int open_input(struct task *t, size_t i, const json_t *e, struct uc_err *err)
{
    struct uc_op_input *in = &t->inputs[i];
    const char *verify = uc_json_str(e, "verify", NULL);
    const json_t *shape = json_object_get(e, "shape");
    struct uc_digest want, got;
    int rc;

    in->name = uc_json_str(e, "name", "");
    in->path = uc_json_str(e, "path", "");
    in->offset = (uint64_t)uc_json_int(e, "offset", 0);
    in->size = (uint64_t)uc_json_int(e, "size", 0);
    in->dtype = uc_json_str(e, "dtype", NULL);
    in->n_dim = (int)json_array_size(shape);
    for (int d = 0; d < in->n_dim && d < (int)UC_COUNT(in->shape); d++)
        in->shape[d] = (uint64_t)json_integer_value(json_array_get(shape, (size_t)d));
    rc = map_input(in, err);
    if (rc < 0) {
        t->bad_input = (int)i;
        return rc;
    }
    if (!verify || !uc_digest_parse(verify, &want))
        return 0;
    uc_map_digest(in->data, in->size, &got);
    if (uc_digest_eq(&want, &got))
        return 0;
    t->bad_input = (int)i;
    return uc_fail(err, UC_ECORRUPT,
                   "input '%s': the bytes of %s are not those it was planned with", in->name,
                   in->path);
}

static int open_job(struct task *t, struct uc_err *err)
{
    json_t *inputs, *outputs;
    char *text;
    size_t n;
    int rc = uc_read_file("/proc/self/fd/0", JOB_MAX, &text, &n, err);

    if (rc < 0)
        return rc;
    t->job = uc_json_parse(text, n, "job", err);
    free(text);
    if (!t->job)
        return err->code;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != (pid_t)uc_json_int(t->job, "parent", 0))
        return uc_fail(err, UC_EINTR, "the engine is gone");
    t->op = uc_op_find(uc_json_str(t->job, "op", ""));
    if (!t->op)
        return uc_fail(err, UC_EFAIL, "there is no op '%s'", uc_json_str(t->job, "op", ""));
    inputs = json_object_get(t->job, "inputs");
    outputs = json_object_get(t->job, "outputs");
    t->ctx.n_inputs = json_array_size(inputs);
    t->ctx.n_outputs = json_array_size(outputs);
    t->ctx.inputs = t->inputs = uc_xcalloc(t->ctx.n_inputs + 1, sizeof(*t->inputs));
    t->ctx.outputs = t->outputs = uc_xcalloc(t->ctx.n_outputs + 1, sizeof(*t->outputs));
    for (size_t i = 0; i < t->ctx.n_outputs; i++) {
        const json_t *e = json_array_get(outputs, i);
        t->outputs[i].name = uc_json_str(e, "name", "");
        t->outputs[i].path = uc_json_str(e, "path", "");
    }
    for (size_t i = 0; i < t->ctx.n_inputs && rc == 0; i++)
        rc = open_input(t, i, json_array_get(inputs, i), err);
    return rc;
}

static int run_op(struct task *t, struct uc_err *err)
{
    char *scratch = uc_path_join(uc_json_str(t->job, "scratch", "."), "tmp");
    int rc = uc_mkdirs(scratch, err);

    t->ctx.params = json_object_get(t->job, "params");
    t->ctx.n_threads = (int)uc_json_int(t->job, "threads", 1);
    t->ctx.scratch = scratch;
    t->ctx.metrics = json_object();
    t->ctx.progress = progress;
    t->ctx.host = t;
    if (rc == 0) {
        t->ctx.pool = uc_pool_new(t->ctx.n_threads, err);
        rc = t->ctx.pool ? t->op->run(&t->ctx, err) : err->code;
        uc_pool_free(t->ctx.pool);
    }
    free(scratch);
    return rc;
}

/* Highest resident size of this program since it was started; 0 when the kernel does not say. */
static uint64_t peak_rss(void)
{
    char *text, *at;
    uint64_t kib = 0;
    size_t n;

    if (uc_read_file("/proc/self/status", 65536, &text, &n, NULL) < 0)
        return 0;
    at = strstr(text, "VmHWM:");
    if (at)
        kib = strtoull(at + 6, NULL, 10);
    free(text);
    return kib * 1024;
}

static int seal_outputs(struct task *t, json_t *done, struct uc_err *err)
{
    const json_t *outputs = json_object_get(t->job, "outputs");

    for (size_t i = 0; i < t->ctx.n_outputs; i++) {
        bool sync = uc_json_bool(json_array_get(outputs, i), "sync", true);
        char hex[UC_HEX_LEN + 1];
        struct uc_digest d;
        uint64_t size;
        int rc = uc_cas_seal(t->outputs[i].path, sync, &d, &size, err);
        if (rc == UC_ENOTFOUND)
            rc = uc_fail(err, UC_EFAIL, "output '%s' was not written", t->outputs[i].name);
        if (rc < 0)
            return rc;
        json_object_set_new(done, t->outputs[i].name,
                            json_pack("{s:s,s:I,s:b}", "digest", uc_digest_hex(&d, hex), "size",
                                      (json_int_t)size, "sync", sync));
    }
    return 0;
}

/* JSON carries only UTF-8, and a message may quote bytes of any file. */
static char *make_utf8(char *s)
{
    size_t n = strlen(s), at = 0;

    while ((at += uc_utf8_valid((uint8_t *)s + at, n - at)) < n)
        s[at] = '?';
    return s;
}

int uc_worker_main(void)
{
    struct task t = {.bad_input = -1};
    struct uc_err err = {0};
    json_t *outputs = json_object();
    int rc;

    fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    rc = open_job(&t, &err);
    if (rc == 0)
        rc = run_op(&t, &err);
    if (rc == 0)
        rc = seal_outputs(&t, outputs, &err);
    if (rc == 0) {
        report(json_pack("{s:{s:O,s:O,s:I}}", "done", "outputs", outputs, "metrics", t.ctx.metrics,
                         "peak_rss", (json_int_t)peak_rss()));
    } else {
        report(json_pack("{s:{s:i,s:s,s:s,s:i}}", "error", "code", rc, "msg", make_utf8(err.msg),
                         "fix", make_utf8(err.fix), "bad_input", t.bad_input));
    }
    json_decref(outputs);
    json_decref(t.ctx.metrics);
    json_decref(t.job);
    free(t.inputs);
    free(t.outputs);
    return rc == 0 ? 0 : 1;
}
