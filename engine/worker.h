/*
 * Worker processes: this same binary, started as `uc __worker`, runs one action and exits. It sees
 * its inputs as read-only maps and writes its outputs into a scratch folder, where it also seals
 * them (cas.h); it knows nothing of keys and never opens the index. It dies with its parent.
 *
 * The job is a JSON file on descriptor 0; the worker reports lines of JSON on descriptor 3; what
 * it prints on 1 and 2 goes to <scratch>/log. A worker that does not report that it is done has
 * failed, whatever else it said.
 */
#ifndef UC_ENGINE_WORKER_H
#define UC_ENGINE_WORKER_H

#include "base/buf.h"
#include "cache/cas.h"
#include "engine/graph.h"
#include "engine/op.h"

/* The first argument that a worker is started with: main() must hand over to uc_worker_main. */
#define UC_WORKER_ARG "__worker"

/* Runs the job on descriptor 0, reports on descriptor 3; returns the exit status. */
int uc_worker_main(void);

struct uc_job_input {
    struct uc_op_input in;          /* data is not used */
    const struct uc_digest *verify; /* the worker checks the bytes against it first; may be NULL */
};

struct uc_job {
    const struct uc_action *action;
    const struct uc_job_input *inputs; /* in the order of action->inputs, then stat_path's file */
    size_t n_inputs;
    const char *scratch; /* empty folder on the cache's file system */
    int threads;
    bool sync; /* outputs that are not transient are synced to disk */
};

struct uc_worker {
    pid_t pid;
    int fd; /* to poll for input; -1 once the worker has closed it */
    const struct uc_action *action;
    char *scratch;
    struct uc_buf lines;
    double began;
    /* what it reported so far */
    uint64_t done, total;
    char unit[32];
    bool progressed; /* since the caller last cleared it */
    /* when it has ended */
    bool ok;
    int bad_input;              /* index of an input whose bytes are gone or wrong, or -1 */
    struct uc_cas_new *outputs; /* sealed files in the order of action->outputs */
    json_t *metrics;
    double seconds, cpu;
    uint64_t peak_rss;
    struct uc_err err; /* when not ok */
};

int uc_worker_start(struct uc_worker **out, const struct uc_job *job, struct uc_err *err);
/* Takes in what it reported; true: it has ended and nothing of it runs any more. */
bool uc_worker_check(struct uc_worker *w);
/* Kills it and what it started; uc_worker_check tells when it is gone. */
void uc_worker_kill(struct uc_worker *w);
void uc_worker_free(struct uc_worker *w);
/* The last lines of its log that fit; "" when it printed nothing. Returns out. */
char *uc_worker_log_tail(const struct uc_worker *w, char *out, size_t cap);

#endif
