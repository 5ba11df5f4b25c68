/* The closing summary of a build, from the manifest that stands in the artifact. */
#ifndef UC_CLI_SUMMARY_H
#define UC_CLI_SUMMARY_H

#include <jansson.h>

#include "engine/build.h"
#include "engine/cli/cli.h"

struct uc_summary {
    const char *name, *dir;
    const json_t *manifest; /* may be NULL */
    bool changed;
    double seconds, saved;
    uint64_t peak_rss;
    size_t n_actions, n_hit, n_ran;
};
/* To stdout, for people. */
void uc_summary_print(const struct uc_cli *cli, const struct uc_summary *s);
/* The same as an object. */
json_t *uc_summary_json(const struct uc_summary *s);
/* Lines on quality alone ("perplexity ..."), as `uc info` and `uc bench` print them too. */
void uc_quality_print(const json_t *report);

#endif
