/* What a build prints while it runs, to stderr: plain lines, a live view, or nothing. */
#ifndef UC_CLI_PROGRESS_H
#define UC_CLI_PROGRESS_H

#include "engine/build.h"
#include "engine/cli/cli.h"

struct uc_progress;

/* interrupts: as in struct uc_build_opts; the first is confirmed to the user. */
struct uc_progress *uc_progress_new(const struct uc_cli *cli, const struct uc_graph *g,
                                    const struct uc_target *const *targets, size_t n,
                                    const volatile sig_atomic_t *interrupts);
void uc_progress_free(struct uc_progress *p); /* leaves the terminal clean */
/* The callback of struct uc_build_opts; arg is the struct uc_progress. */
void uc_progress_event(void *arg, const struct uc_event *ev);
/* Largest resident set of any worker so far. */
uint64_t uc_progress_peak(const struct uc_progress *p);

#endif
