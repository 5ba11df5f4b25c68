#include "engine_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

unsigned fixture_quantize_version = 1;

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* How an action can misbehave. */
static int misbehave(struct uc_op_ctx *ctx, const char *how, struct uc_err *err)
{
    if (strcmp(how, "fail") == 0) {
        printf("a line of its log\n");
        fflush(stdout);
        return uc_fail(err, UC_EREFUSED, "asked to fail");
    }
    if (strcmp(how, "crash") == 0) {
        fprintf(stderr, "about to crash\n");
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    if (strcmp(how, "exit") == 0)
        _exit(0);
    if (strcmp(how, "orphan") == 0 && fork() == 0) { /* leaves a process behind */
        char *path = uc_path_join(ctx->scratch, "../../../orphan");
        char pid[32];
        snprintf(pid, sizeof(pid), "%ld", (long)getpid());
        fixture_write(path, pid);
        sleep_ms(60000);
        _exit(0);
    }
    if (strcmp(how, "big") == 0) {
        static char block[1 << 20];
        int fd = open(ctx->outputs[0].path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        int rc = 0;
        for (int i = 0; i < 64 && rc == 0; i++)
            rc = uc_write_all(fd, block, sizeof(block), ctx->outputs[0].path, err);
        close(fd);
        unlink(ctx->outputs[0].path);
        return rc;
    }
    return 0;
}

/* Each output: "<op>.<output>(<params.text>: <name>=<bytes> <name>=<bytes> ...)". */
static int run_make(struct uc_op_ctx *ctx, const char *op, struct uc_err *err)
{
    const char *how = uc_json_str(ctx->params, "how", "");
    int rc = misbehave(ctx, how, err);
    struct uc_buf b;

    if (rc < 0)
        return rc;
    ctx->progress(ctx, 1, 2, "steps");
    sleep_ms(ctx->n_inputs ? (int)uc_json_int(ctx->params, "ms", 0) : 0);
    uc_buf_init(&b, 0);
    for (size_t o = 0; o < ctx->n_outputs && rc == 0; o++) {
        uc_buf_clear(&b);
        uc_buf_addf(&b, "%s.%s(%s:", op, ctx->outputs[o].name,
                    uc_json_str(ctx->params, "text", ""));
        if (strcmp(how, "noise") == 0)
            uc_buf_addf(&b, " %ld", (long)getpid());
        for (size_t i = 0; i < ctx->n_inputs; i++)
            uc_buf_addf(&b, " %s=%.*s", ctx->inputs[i].name, (int)ctx->inputs[i].size,
                        (const char *)ctx->inputs[i].data);
        uc_buf_addc(&b, ')');
        rc = uc_op_put(ctx, ctx->outputs[o].name, b.data, b.len, err);
    }
    uc_buf_release(&b);
    json_object_set_new(ctx->metrics, "n_inputs", json_integer((json_int_t)ctx->n_inputs));
    return rc;
}

static int run_capture(struct uc_op_ctx *ctx, struct uc_err *err)
{
    if (strcmp(uc_json_str(ctx->params, "how", ""), "no output") == 0)
        return 0;
    return run_make(ctx, "capture", err);
}

static int run_quantize(struct uc_op_ctx *ctx, struct uc_err *err)
{
    return run_make(ctx, "quantize", err);
}

static int run_assemble(struct uc_op_ctx *ctx, struct uc_err *err)
{
    return run_make(ctx, "assemble", err);
}

static int run_fingerprint(struct uc_op_ctx *ctx, struct uc_err *err)
{
    const struct uc_op_input *in = uc_op_in(ctx, "file", err);
    json_t *o = json_object();
    char *text, name[16], hex[UC_HEX_LEN + 1];
    int rc;

    for (uint64_t i = 0; i < in->size / 4; i++) {
        struct uc_digest d;
        uc_digest_of(in->data + 4 * i, 4, &d);
        snprintf(name, sizeof(name), "t%d", (int)i);
        json_object_set_new(o, name, json_string(uc_digest_hex(&d, hex)));
    }
    text = uc_json_canonical(o);
    sleep_ms((int)uc_json_int(ctx->params, "ms", 0));
    rc = uc_op_put(ctx, "digests", text, strlen(text), err);
    free(text);
    json_decref(o);
    return rc;
}

static const struct uc_op op_assemble = {"assemble", 1, "", run_assemble};
static const struct uc_op op_capture = {"capture", 1, "", run_capture};
static const struct uc_op op_fingerprint = {"fingerprint", 1, "", run_fingerprint};
static struct uc_op op_quantize = {"quantize", 1, "", run_quantize};
const struct uc_op *const uc_ops[] = {&op_assemble, &op_capture, &op_fingerprint, &op_quantize,
                                      NULL};

void fixture_write(const char *path, const char *text)
{
    assert_int_equal(uc_write_file(path, text, strlen(text), false, NULL), 0);
}

void fixture_write_source(const struct fixture *f, const char *letters)
{
    char bytes[4 * LAYERS + 1];

    for (int i = 0; i < LAYERS; i++)
        memset(bytes + 4 * i, letters[i], 4);
    bytes[4 * LAYERS] = 0;
    fixture_write(f->source, bytes);
}

int fixture_setup(void **state)
{
    struct fixture *f = uc_xcalloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/uc-test.XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->cache_dir, sizeof(f->cache_dir), "%s/cache", f->dir);
    snprintf(f->source, sizeof(f->source), "%s/source.bin", f->dir);
    snprintf(f->text, sizeof(f->text), "%s/text.txt", f->dir);
    snprintf(f->out, sizeof(f->out), "%s/out", f->dir);
    f->bits = 3;
    f->note = "";
    f->opts.jobs = 2;
    f->opts.scope = "recipe.lua";
    f->cache_flags = UC_CACHE_NO_SYNC;
    fixture_quantize_version = 1;
    fixture_write_source(f, "abcd");
    fixture_write(f->text, "calibration text");
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    uc_build_result_release(&f->res);
    uc_remove_tree(f->dir, NULL);
    free(f);
    return 0;
}

static struct uc_ref output_of(uint32_t id, const char *name)
{
    return (struct uc_ref){.kind = UC_REF_OUTPUT, .action = id, .output = name};
}

static uint32_t add(struct fixture *f, struct uc_graph *g, const char *op, const char *name,
                    const char *text, struct uc_input *in, size_t n_in, struct uc_output *out,
                    size_t n_out)
{
    struct uc_action a = {.op = op,
                          .name = name,
                          .inputs = in,
                          .n_inputs = n_in,
                          .outputs = out,
                          .n_outputs = n_out,
                          .threads = 2,
                          .memory = 1 << 20,
                          .work = 1e6};
    struct uc_err err = {0};
    uint32_t id;

    a.params = json_pack("{s:s}", "text", text);
    if (f->ms)
        json_object_set_new(a.params, "ms", json_integer(f->ms));
    if (f->bad && strcmp(f->bad, name) == 0)
        json_object_set_new(a.params, "how", json_string(f->how));
    if (strcmp(op, "fingerprint") == 0)
        a.stat_path = f->source;
    assert_int_equal(uc_graph_add(g, &a, &id, &err), 0);
    json_decref(a.params);
    return id;
}

static struct uc_ref slice_of(const char *path)
{
    struct uc_ref r = {.kind = UC_REF_SLICE, .path = path};

    assert_int_equal(uc_hash_file(path, &r.digest, &r.size, NULL), 0);
    return r;
}

static void add_target(struct fixture *f, struct uc_graph *g, uint32_t assemble)
{
    static const char manifest[] = "{\"tooling_version\":\"uc test\",\"files\":{\"model.bin\":{}}}";
    struct uc_ref inline_ref = {.kind = UC_REF_INLINE, .data = manifest, .size = strlen(manifest)};
    struct uc_input files[] = {
        {"model.bin", output_of(assemble, "model")},
        {"ultracompress.json", inline_ref},
        {"report/r.json", output_of(assemble, "report")},
        {"text/copy.txt", slice_of(f->text)},
    };
    struct uc_target t = {.name = "out",
                          .dir = f->no_target_dir ? NULL : f->out,
                          .files = files,
                          .n_files = UC_COUNT(files),
                          .summary = "report/r.json"};
    struct uc_err err = {0};

    uc_digest_of(manifest, strlen(manifest), &files[1].ref.digest);
    assert_int_equal(uc_graph_add_target(g, &t, &err), 0);
}

void fixture_graph(struct fixture *f, struct uc_graph *g)
{
    struct uc_output digests = {"digests", UC_CACHE, 0};
    struct uc_output captured[] = {{"x", UC_TRANSIENT, 0}, {"s", UC_CACHE, 0}};
    struct uc_output stream = {"stream", UC_CACHE, 0};
    struct uc_output model[] = {{"model", UC_KEEP, 0}, {"report", UC_KEEP, 0}};
    struct uc_input all[LAYERS];
    char names[LAYERS][16], tensor[16], name[32], bits[16];
    uint32_t fp, layer[LAYERS];

    op_quantize.version = fixture_quantize_version;
    snprintf(bits, sizeof(bits), "%d", f->bits);
    fp = add(f, g, "fingerprint", "fingerprint", "", NULL, 0, &digests, 1);
    for (int k = 0; k < LAYERS; k++) {
        snprintf(tensor, sizeof(tensor), "t%d", k);
        struct uc_ref w = {.kind = UC_REF_TENSOR,
                           .action = fp,
                           .output = tensor,
                           .path = f->source,
                           .offset = 4 * (uint64_t)k,
                           .size = 4,
                           .dtype = "U8",
                           .n_dim = 1,
                           .shape = {4}};
        struct uc_input in[2] = {{"w", w}, {"x", slice_of(f->text)}};
        if (k)
            in[1].ref = output_of(layer[k - 1], "x");
        snprintf(name, sizeof(name), "capture.%d", k);
        layer[k] = add(f, g, "capture", name, "", in, 2, captured, 2);
        in[1] = (struct uc_input){"s", output_of(layer[k], "s")};
        snprintf(name, sizeof(name), "quantize.%d", k);
        snprintf(names[k], sizeof(names[k]), "q/%d", k);
        all[k] = (struct uc_input){
            names[k], output_of(add(f, g, "quantize", name, bits, in, 2, &stream, 1), "stream")};
    }
    add_target(f, g, add(f, g, "assemble", "assemble", f->note, all, LAYERS, model, 2));
}

const char *fixture_expected(const struct fixture *f, const char *letters)
{
    static char out[16384];
    char x[LAYERS + 1][2048], q[LAYERS][2048], text[64] = {0};
    size_t n = 0;
    FILE *file = fopen(f->text, "r");

    assert_non_null(file);
    assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    snprintf(x[0], sizeof(x[0]), "%s", text);
    for (int k = 0; k < LAYERS; k++) {
        char w[5] = {letters[k], letters[k], letters[k], letters[k], 0}, s[2048];
        assert_true(snprintf(x[k + 1], sizeof(x[0]), "capture.x(: w=%s x=%s)", w, x[k]) < 2048);
        assert_true(snprintf(s, sizeof(s), "capture.s(: w=%s x=%s)", w, x[k]) < 2048);
        assert_true(snprintf(q[k], sizeof(q[k]), "quantize.stream(%d: s=%s w=%s)", f->bits, s, w) <
                    2048);
    }
    n += (size_t)snprintf(out + n, sizeof(out) - n, "assemble.model(%s:", f->note);
    for (int k = 0; k < LAYERS; k++)
        n += (size_t)snprintf(out + n, sizeof(out) - n, " q/%d=%s", k, q[k]);
    snprintf(out + n, sizeof(out) - n, ")");
    return out;
}

static void on_event(void *arg, const struct uc_event *ev)
{
    struct fixture *f = arg;

    if (ev->kind == UC_EV_WARN)
        snprintf(f->warned + strlen(f->warned), sizeof(f->warned) - strlen(f->warned), "%s\n",
                 ev->text);
    if (ev->kind == UC_EV_END && ev->log)
        snprintf(f->log, sizeof(f->log), "%s", ev->log);
    if (ev->kind == UC_EV_WAIT)
        snprintf(f->waited, sizeof(f->waited), "%s", ev->text);
}

int fixture_build(struct fixture *f)
{
    struct uc_cache *cache;
    struct uc_graph g;
    const struct uc_target *target;
    int rc;

    uc_build_result_release(&f->res);
    memset(&f->err, 0, sizeof(f->err));
    f->ran[0] = f->warned[0] = f->log[0] = f->waited[0] = 0;
    rc = uc_cache_open(&cache, f->cache_dir, f->cache_flags, &f->err);
    if (rc < 0)
        return rc;
    uc_graph_init(&g);
    fixture_graph(f, &g);
    target = &g.targets[0];
    if (!f->opts.event) {
        f->opts.event = on_event;
        f->opts.arg = f;
    }
    rc = uc_build(cache, &g, &target, 1, &f->opts, &f->res, &f->err);
    for (size_t i = 0; i < g.n_actions && f->res.actions; i++)
        if (f->res.actions[i].outcome == UC_RAN)
            snprintf(f->ran + strlen(f->ran), sizeof(f->ran) - strlen(f->ran), " %s",
                     g.actions[i].name);
    uc_graph_release(&g);
    uc_cache_close(cache);
    return rc;
}

const char *fixture_read_out(const struct fixture *f, const char *name)
{
    static char *text;
    char *path = uc_path_join(f->out, name);
    size_t n;

    free(text);
    text = NULL;
    if (uc_read_file(path, 0, &text, &n, NULL) < 0)
        text = NULL;
    free(path);
    return text;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t fixture_each_blob(const struct fixture *f, void (*fn)(const char *path, size_t i, void *arg),
                         void *arg)
{
    char *paths[256];
    size_t n = 0;

    for (int i = 0; i < 256; i++) {
        char *dir = uc_xasprintf("%s/cas/%02x", f->cache_dir, i);
        DIR *d = opendir(dir);
        struct dirent *e;
        while (d && (e = readdir(d)))
            if (strlen(e->d_name) == UC_HEX_LEN && n < UC_COUNT(paths))
                paths[n++] = uc_path_join(dir, e->d_name);
        if (d)
            closedir(d);
        free(dir);
    }
    qsort(paths, n, sizeof(*paths), by_text);
    for (size_t i = 0; i < n; i++) {
        if (fn)
            fn(paths[i], i, arg);
        free(paths[i]);
    }
    return n;
}

bool fixture_wait_until(bool (*done)(void *arg), void *arg)
{
    double until = uc_now() + 60; /* the machine may be busy */

    while (!done(arg) && uc_now() < until)
        sleep_ms(5);
    return done(arg);
}
