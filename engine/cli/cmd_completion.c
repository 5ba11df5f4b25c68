#include <string.h>

#include "engine/cli/cli.h"

static int run(struct uc_cli *cli, struct uc_err *err)
{
    const char *shell = cli->args[0];

    if (strcmp(shell, "bash") && strcmp(shell, "zsh") && strcmp(shell, "fish")) {
        uc_fail(err, UC_EUSAGE, "no completion for '%s'", shell);
        return uc_fix(err, "one of bash, zsh, fish");
    }
    uc_help_completion(stdout, shell);
    return 0;
}

const struct uc_command uc_cmd_completion = {
    .name = "completion",
    .summary = "completion script for a shell",
    .usage = "bash|zsh|fish",
    .examples = "source <(uc completion bash)   completion in this shell",
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
