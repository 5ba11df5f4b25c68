/* The program: one table of commands, errors printed and turned into exit codes in one place. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/cli/cli.h"
#include "engine/worker.h"

static int run(struct uc_cli *cli, struct uc_err *err)
{
    const char *dir = uc_cli_text(cli, "directory", NULL);

    if (cli->quiet)
        uc_log_set_level(UC_LOG_QUIET);
    else if (cli->verbose)
        uc_log_set_level(cli->verbose > 1 ? UC_LOG_DEBUG : UC_LOG_INFO);
    if (dir && chdir(dir) < 0)
        return uc_fail(err, UC_EUSAGE, "-C %s: no such folder", dir);
    if (!cli->command) {
        uc_help_overview(stdout);
        return 0;
    }
    return cli->command->run(cli, err);
}

int main(int argc, char **argv)
{
    struct uc_cli cli;
    struct uc_err err = {0};
    int rc;

    if (argc > 1 && !strcmp(argv[1], UC_WORKER_ARG))
        return uc_worker_main();
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    rc = uc_cli_parse(argc, argv, &cli, &err);
    if (rc == 0)
        rc = run(&cli, &err);
    if (rc < 0)
        uc_print_error(&cli, &err);
    if (fflush(stdout) != 0 && rc == 0)
        rc = UC_EIO;
    uc_cli_release(&cli);
    return rc > 0 ? rc : uc_exit_code(rc);
}
