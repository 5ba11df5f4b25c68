#include <string.h>

#include "engine/cli/cli.h"

extern const struct uc_command uc_cmd_bench;
extern const struct uc_command uc_cmd_build;
extern const struct uc_command uc_cmd_completion;
extern const struct uc_command uc_cmd_compress;
extern const struct uc_command uc_cmd_explain;
extern const struct uc_command uc_cmd_export;
extern const struct uc_command uc_cmd_graph;
extern const struct uc_command uc_cmd_help;
extern const struct uc_command uc_cmd_import;
extern const struct uc_command uc_cmd_info;
extern const struct uc_command uc_cmd_log;
extern const struct uc_command uc_cmd_plan;
extern const struct uc_command uc_cmd_status;
extern const struct uc_command uc_cmd_tokenize;
extern const struct uc_command uc_cmd_verify;
extern const struct uc_command uc_cmd_version;

const struct uc_command *const uc_commands[] = {
    &uc_cmd_build,
    &uc_cmd_compress,
    &uc_cmd_plan,
    &uc_cmd_explain,
    &uc_cmd_graph,
    &uc_cmd_status,
    &uc_cmd_log,
    &uc_cmd_info,
    &uc_cmd_verify,
    &uc_cmd_bench,
    &uc_cmd_export,
    &uc_cmd_import,
    &uc_cmd_tokenize,
    &uc_cmd_help,
    &uc_cmd_completion,
    &uc_cmd_version,
    NULL,
};

const struct uc_option uc_global_options[] = {
    {"directory", 'C', UC_OPT_PATH, "DIR", "work as if started in DIR", NULL},
    {"cache", 0, UC_OPT_PATH, "DIR",
     "where results are kept (default: $UC_CACHE, else "
     "$XDG_CACHE_HOME/uc, else ~/.cache/uc)",
     NULL},
    {"jobs", 'j', UC_OPT_INT, "N", "processor cores that the build may use (default: all)", NULL},
    {"memory", 0, UC_OPT_SIZE, "SIZE", "memory that running actions may use together, as in 4G",
     NULL},
    {"device", 0, UC_OPT_TEXT, "NAME", "cpu, auto or cuda:N (default: cpu)", NULL},
    {"json", 0, UC_OPT_FLAG, NULL, "print the result as one JSON object", NULL},
    {"quiet", 'q', UC_OPT_FLAG, NULL, "print no progress", NULL},
    {"verbose", 'v', UC_OPT_FLAG, NULL, "say more; twice for debugging", NULL},
    {"color", 0, UC_OPT_TEXT, "WHEN", "colours on the terminal (NO_COLOR is honoured)",
     "auto|always|never"},
    {"progress", 0, UC_OPT_TEXT, "HOW", "progress: a live view, plain lines or none",
     "auto|plain|off"},
    {"help", 'h', UC_OPT_FLAG, NULL, "what the command does and which options it takes", NULL},
    {"version", 0, UC_OPT_FLAG, NULL, "the version, as `uc version` says it", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command *uc_command_find(const char *name)
{
    for (size_t i = 0; uc_commands[i]; i++)
        if (!strcmp(uc_commands[i]->name, name))
            return uc_commands[i];
    return NULL;
}
