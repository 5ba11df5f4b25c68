#include "engine/cli/build.h"

static int run(struct uc_cli *cli, struct uc_err *err)
{
    struct uc_session s;
    int rc = uc_session_open(&s, cli, err);

    if (rc == 0)
        rc = uc_cli_build(&s, err);
    uc_session_close(&s);
    return rc;
}

static const struct uc_option options[] = {
    UC_RECIPE_OPTIONS,
    UC_BUILD_OPTIONS,
    {NULL, 0, UC_OPT_FLAG, NULL, NULL, NULL},
};

const struct uc_command uc_cmd_build = {
    .name = "build",
    .summary = "build the artifacts of a recipe; only what changed runs",
    .usage = "[RECIPE.lua] [ARTIFACT...]",
    .examples = "uc build                        uc.lua in this folder, its default artifact\n"
                "uc build examples/tiny.uc.lua   the small model that comes with uc\n"
                "uc build --set bpw=3            the same recipe with another budget\n"
                "uc build -j1 --progress plain   one core, plain lines",
    .about =
        "Run it again after a failure, a crash or Ctrl-C: it goes on where it stood. The first\n"
        "Ctrl-C lets the running actions finish, the second stops them.",
    .options = options,
    .max_args = -1,
    .run = run,
};
