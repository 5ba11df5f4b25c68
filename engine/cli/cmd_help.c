#include <string.h>

#include "engine/cli/cli.h"
#include "engine/op.h"

static int help_ops(void)
{
    for (size_t i = 0; uc_ops[i]; i++)
        printf("%-18s @%u  %s\n", uc_ops[i]->name, uc_ops[i]->version, uc_ops[i]->summary);
    return 0;
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    const struct uc_command *c;

    if (cli->command && uc_cli_flag(cli, "man")) {
        uc_help_man(stdout);
        return 0;
    }
    if (!cli->n_args) {
        uc_help_overview(stdout);
        return 0;
    }
    if (!strcmp(cli->args[0], "ops"))
        return help_ops();
    c = uc_command_find(cli->args[0]);
    if (!c) {
        uc_fail(err, UC_EUSAGE, "no help on '%s'", cli->args[0]);
        return uc_fix(err, "`uc help` lists the commands");
    }
    uc_help_command(stdout, c);
    return 0;
}

static const struct uc_option options[] = {
    {"man", 0, UC_OPT_FLAG, NULL, "print the man page of uc", NULL},
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_help = {
    .name = "help",
    .summary = "what a command does, with examples",
    .usage = "[COMMAND]",
    .examples = "uc help build            the options of uc build\n"
                "uc help ops              the kinds of actions and their versions\n"
                "uc help --man | man -l - the man page",
    .options = options,
    .max_args = 1,
    .run = run,
};
