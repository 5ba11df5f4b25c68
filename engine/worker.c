/* The engine's side of a worker process; the worker's own side is worker_main.c. */
#include "engine/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

enum { LINES_MAX = 16 << 20, LOG_TAIL_LINES = 20 };

static json_t *job_json(const struct uc_job *job)
{
    const struct uc_action *a = job->action;
    json_t *o = json_object(), *inputs = json_array(), *outputs = json_array();
    char hex[UC_HEX_LEN + 1];

    for (size_t i = 0; i < job->n_inputs; i++) {
        const struct uc_op_input *in = &job->inputs[i].in;
        json_t *e = json_object(), *shape = json_array();
        for (int d = 0; d < in->n_dim; d++)
            json_array_append_new(shape, json_integer((json_int_t)in->shape[d]));
        json_object_set_new(e, "name", json_string(in->name));
        json_object_set_new(e, "path", json_string(in->path));
        json_object_set_new(e, "offset", json_integer((json_int_t)in->offset));
        json_object_set_new(e, "size", json_integer((json_int_t)in->size));
        json_object_set_new(e, "shape", shape);
        if (in->dtype)
            json_object_set_new(e, "dtype", json_string(in->dtype));
        if (job->inputs[i].verify)
            json_object_set_new(e, "verify",
                                json_string(uc_digest_hex(job->inputs[i].verify, hex)));
        json_array_append_new(inputs, e);
    }
    for (size_t i = 0; i < a->n_outputs; i++) {
        json_t *e = json_object();
        char *path = uc_xasprintf("%s/out.%zu", job->scratch, i);
        json_object_set_new(e, "name", json_string(a->outputs[i].name));
        json_object_set_new(e, "path", json_string(path));
        json_object_set_new(e, "sync",
                            json_boolean(job->sync && a->outputs[i].retention != UC_TRANSIENT));
        json_array_append_new(outputs, e);
        free(path);
    }
    json_object_set_new(o, "op", json_string(a->op));
    json_object_set(o, "params", a->params);
    json_object_set_new(o, "inputs", inputs);
    json_object_set_new(o, "outputs", outputs);
    json_object_set_new(o, "scratch", json_string(job->scratch));
    json_object_set_new(o, "threads", json_integer(job->threads));
    json_object_set_new(o, "parent", json_integer(getpid()));
    return o;
}

static int write_job(const struct uc_job *job, const char *path, struct uc_err *err)
{
    json_t *o = job_json(job);
    char *text = uc_json_canonical(o);
    int rc = uc_write_file(path, text, strlen(text), false, err);

    json_decref(o);
    free(text);
    return rc;
}

/* Starts the process: job on 0, log on 1 and 2, report on 3, everything else closed. */
static int spawn(struct uc_worker *w, const char *job, const char *log, int report,
                 struct uc_err *err)
{
    char *argv[] = {"uc", UC_WORKER_ARG, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    sigset_t none, standard;
    int rc;

    sigemptyset(&none);
    sigfillset(&standard);
    sigdelset(&standard, SIGKILL);
    sigdelset(&standard, SIGSTOP);
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&at);
    posix_spawn_file_actions_addopen(&fa, 0, job, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&fa, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&fa, 1, 2);
    posix_spawn_file_actions_adddup2(&fa, report, 3);
    posix_spawnattr_setflags(&at, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                      POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&at, 0);
    posix_spawnattr_setsigmask(&at, &none);
    posix_spawnattr_setsigdefault(&at, &standard);
    rc = posix_spawn(&w->pid, "/proc/self/exe", &fa, &at, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&at);
    errno = rc;
    return rc ? uc_fail_errno(err, "start a worker process") : 0;
}

int uc_worker_start(struct uc_worker **out, const struct uc_job *job, struct uc_err *err)
{
    struct uc_worker *w = uc_xcalloc(1, sizeof(*w));
    char *path = uc_path_join(job->scratch, "job.json"), *log = uc_path_join(job->scratch, "log");
    int fds[2] = {-1, -1}, report = -1, rc;

    *out = NULL;
    w->action = job->action;
    w->scratch = uc_xstrdup(job->scratch);
    w->fd = -1;
    w->bad_input = -1;
    w->began = uc_now();
    uc_buf_init(&w->lines, LINES_MAX);
    rc = write_job(job, path, err);
    if (rc == 0 && pipe2(fds, O_CLOEXEC) < 0)
        rc = uc_fail_errno(err, "pipe to a worker");
    /* Above the descriptors that spawn hands on, whatever the caller has closed. */
    if (rc == 0 && (report = fcntl(fds[1], F_DUPFD_CLOEXEC, 10)) < 0)
        rc = uc_fail_errno(err, "pipe to a worker");
    if (rc == 0)
        rc = spawn(w, path, log, report, err);
    if (fds[1] >= 0)
        close(fds[1]);
    if (report >= 0)
        close(report);
    w->fd = fds[0];
    if (rc == 0) {
        fcntl(w->fd, F_SETFL, O_NONBLOCK);
        *out = w;
    } else {
        uc_worker_free(w);
    }
    free(path);
    free(log);
    return rc;
}

static void take_error(struct uc_worker *w, const json_t *e)
{
    int code = (int)uc_json_int(e, "code", UC_EFAIL);

    uc_fail(&w->err, code < 0 ? code : UC_EFAIL, "%s", uc_json_str(e, "msg", "unknown error"));
    uc_fix(&w->err, "%s", uc_json_str(e, "fix", ""));
    w->bad_input = (int)uc_json_int(e, "bad_input", -1);
}

static void take_done(struct uc_worker *w, const json_t *e)
{
    const struct uc_action *a = w->action;
    json_t *outputs = json_object_get(e, "outputs");

    w->outputs = uc_xcalloc(a->n_outputs + 1, sizeof(*w->outputs));
    for (size_t i = 0; i < a->n_outputs; i++) {
        const json_t *o = json_object_get(outputs, a->outputs[i].name);
        const char *hex = uc_json_str(o, "digest", "");
        if (strlen(hex) != UC_HEX_LEN || !uc_digest_parse(hex, &w->outputs[i].digest))
            return;
        w->outputs[i].size = (uint64_t)uc_json_int(o, "size", 0);
        w->outputs[i].path = uc_xasprintf("%s/out.%zu", w->scratch, i);
        w->outputs[i].sync = uc_json_bool(o, "sync", false);
    }
    w->peak_rss = (uint64_t)uc_json_int(e, "peak_rss", 0);
    w->metrics = json_incref(json_object_get(e, "metrics"));
    w->ok = true;
}

static void take_line(struct uc_worker *w, const char *line, size_t n)
{
    json_t *e = uc_json_parse(line, n, "worker", NULL), *p = json_object_get(e, "progress");

    if (json_is_array(p)) {
        const char *unit = json_string_value(json_array_get(p, 2));
        w->done = (uint64_t)json_integer_value(json_array_get(p, 0));
        w->total = (uint64_t)json_integer_value(json_array_get(p, 1));
        snprintf(w->unit, sizeof(w->unit), "%s", unit ? unit : "");
        w->progressed = true;
    } else if (json_object_get(e, "error")) {
        take_error(w, json_object_get(e, "error"));
    } else if (json_object_get(e, "done")) {
        take_done(w, json_object_get(e, "done"));
    }
    json_decref(e);
}

static void take_reports(struct uc_worker *w)
{
    char chunk[65536], *end;
    size_t used = 0;

    for (;;) {
        ssize_t n = w->fd < 0 ? -1 : read(w->fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0) {
            close(w->fd);
            w->fd = -1;
        }
        if (n <= 0)
            break;
        uc_buf_add(&w->lines, chunk, (size_t)n);
    }
    while (w->lines.len > used && (end = memchr(w->lines.data + used, '\n', w->lines.len - used))) {
        size_t n = (size_t)((uint8_t *)end - w->lines.data) - used;
        take_line(w, (char *)w->lines.data + used, n);
        used += n + 1;
    }
    if (used) {
        memmove(w->lines.data, w->lines.data + used, w->lines.len - used);
        w->lines.len -= used;
    }
}

/* Says how it ended when it ended without a report of its own. */
static void judge(struct uc_worker *w, int status)
{
    if (WIFSIGNALED(status)) {
        int sig = WTERMSIG(status);
        w->ok = false;
        uc_fail(&w->err, UC_EFAIL, "its worker was killed by signal %d (%s)", sig, strsignal(sig));
        if (sig == SIGKILL)
            uc_fix(&w->err, "if nobody killed it, the kernel may have been out of memory: lower "
                            "-j or --memory");
        if (sig == SIGBUS)
            uc_fix(&w->err, "a file that it read was probably truncated, or its disk failed");
    } else if (w->ok && WEXITSTATUS(status)) {
        w->ok = false;
        uc_fail(&w->err, UC_EFAIL, "its worker ended with status %d", WEXITSTATUS(status));
    } else if (!w->ok && !w->err.code) {
        uc_fail(&w->err, UC_EFAIL, "its worker ended with status %d and without a result",
                WEXITSTATUS(status));
    }
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

bool uc_worker_check(struct uc_worker *w)
{
    struct rusage ru;
    int status;
    pid_t got;

    if (w->pid <= 0)
        return true;
    take_reports(w);
    do {
        got = wait4(w->pid, &status, WNOHANG, &ru);
    } while (got < 0 && errno == EINTR);
    if (got == 0)
        return false;
    kill(-w->pid, SIGKILL); /* what it may have started and left behind */
    w->pid = 0;
    take_reports(w);
    w->seconds = uc_now() - w->began;
    if (got > 0) {
        w->cpu = seconds_of(ru.ru_utime) + seconds_of(ru.ru_stime);
        if (!w->peak_rss)
            w->peak_rss = (uint64_t)ru.ru_maxrss * 1024;
        judge(w, status);
    } else {
        w->ok = false;
        uc_fail_errno(&w->err, "wait for its worker");
    }
    return true;
}

void uc_worker_kill(struct uc_worker *w)
{
    if (w->pid > 0) {
        kill(w->pid, SIGKILL);
        kill(-w->pid, SIGKILL);
    }
}

void uc_worker_free(struct uc_worker *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    for (size_t i = 0; w->outputs && i < w->action->n_outputs; i++)
        free((char *)w->outputs[i].path);
    free(w->outputs);
    json_decref(w->metrics);
    uc_buf_release(&w->lines);
    free(w->scratch);
    free(w);
}

char *uc_worker_log_tail(const struct uc_worker *w, char *out, size_t cap)
{
    char *path = uc_path_join(w->scratch, "log");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n = 0;
    size_t lines = 0, from;

    free(path);
    out[0] = 0;
    if (fd < 0)
        return out;
    if (fstat(fd, &st) == 0) {
        off_t at = st.st_size > (off_t)cap - 1 ? st.st_size - ((off_t)cap - 1) : 0;
        n = pread(fd, out, cap - 1, at);
    }
    close(fd);
    while (n > 0 && out[n - 1] == '\n')
        n--;
    out[n > 0 ? n : 0] = 0;
    for (from = n > 0 ? (size_t)n : 0; from && lines < LOG_TAIL_LINES; from--)
        lines += out[from - 1] == '\n';
    memmove(out, out + from + (lines == LOG_TAIL_LINES), strlen(out + from) + 1);
    return out;
}
