/* Running a session's targets: what `uc build` and `uc compress` share. */
#ifndef UC_CLI_BUILD_H
#define UC_CLI_BUILD_H

#include "engine/cli/session.h"

/* Options of both: "keep-going", "force", "until". */
#define UC_BUILD_OPTIONS                                                                            \
    {"keep-going", 'k', UC_OPT_FLAG, NULL, "run what does not depend on a failed action", NULL},    \
        {"force", 0, UC_OPT_TEXT, "PATTERN", "run actions whose name or op matches, cached or not", \
         NULL},                                                                                     \
    {                                                                                               \
        "until", 0, UC_OPT_TEXT, "PATTERN", "stop at actions whose name or op matches", NULL        \
    }

/* Says that nothing has to be done when the memo knows it, else evaluates, builds, prints the
 * summary and remembers. */
int uc_cli_build(struct uc_session *s, struct uc_err *err);

#endif
