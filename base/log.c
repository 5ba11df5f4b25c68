#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static enum uc_log_level current = UC_LOG_WARN;

void uc_log_set_level(enum uc_log_level level)
{
    current = level;
}

enum uc_log_level uc_log_level(void)
{
    return current;
}

static void say(enum uc_log_level level, const char *prefix, const char *fmt, va_list ap)
{
    char line[2048];

    if (level > current)
        return;
    vsnprintf(line, sizeof(line), fmt, ap);
    fprintf(stderr, "%s%s\n", prefix, line); /* one write: lines of workers do not mix */
}

#define LEVEL(name, level, prefix)                                                                 \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        say(level, prefix, fmt, ap);                                                               \
        va_end(ap);                                                                                \
    }

LEVEL(uc_warn, UC_LOG_WARN, "warning: ")
LEVEL(uc_info, UC_LOG_INFO, "")
LEVEL(uc_debug, UC_LOG_DEBUG, "debug: ")
