#include <openssl/crypto.h>

#include "base/cpu.h"
#include "engine/cli/cli.h"

#ifdef __clang__
#define COMPILER __VERSION__ /* names itself */
#else
#define COMPILER "gcc " __VERSION__
#endif

static int run(struct uc_cli *cli, struct uc_err *err)
{
    const char *cpu = uc_cpu_name(uc_cpu_flags());

    if (cli->json)
        uc_print_json(json_pack("{s:s, s:s, s:s, s:s}", "uc", UC_VERSION, "kernels", cpu,
                                "compiler", COMPILER, "libcrypto",
                                OpenSSL_version(OPENSSL_VERSION)));
    else
        printf("uc %s (kernels %s; built with %s; %s)\n", UC_VERSION, cpu, COMPILER,
               OpenSSL_version(OPENSSL_VERSION));
    return 0;
}

const struct uc_command uc_cmd_version = {
    .name = "version",
    .summary = "version of uc and of what it runs on",
    .usage = "",
    .examples = "uc version --json   the same for programs",
    .run = run,
};
