/*
 * Worker processes: this same binary, started as `uc __worker`, runs one action and exits. It sees
 * its inputs as read-only maps and writes its outputs into a scratch folder; it knows nothing of
 * keys and never opens the index. It dies with its parent.
 */
#ifndef UC_ENGINE_WORKER_H
#define UC_ENGINE_WORKER_H

/* The first argument that a worker is started with: main() must hand over to uc_worker_main. */
#define UC_WORKER_ARG "__worker"

/* Runs the job on descriptor 0, reports on descriptor 3; returns the exit status. */
int uc_worker_main(void);

#endif
