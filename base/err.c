#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int uc_vfail(struct uc_err *err, int code, const char *fmt, va_list ap)
{
    if (err) {
        err->code = code;
        err->fix[0] = 0;
        vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    }
    return code;
}

int uc_fail(struct uc_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    uc_vfail(err, code, fmt, ap);
    va_end(ap);
    return code;
}

int uc_fail_errno(struct uc_err *err, const char *fmt, ...)
{
    int saved = errno;
    int code = UC_EIO;
    va_list ap;

    if (saved == ENOSPC || saved == EDQUOT || saved == ENOMEM)
        code = UC_ERESOURCE;
    else if (saved == ENOENT)
        code = UC_ENOTFOUND;
    va_start(ap, fmt);
    uc_vfail(err, code, fmt, ap);
    va_end(ap);
    if (err) {
        size_t n = strlen(err->msg);
        snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", strerror(saved));
        if (saved == ENOSPC || saved == EDQUOT)
            snprintf(err->fix, sizeof(err->fix),
                     "free disk space, or put the cache elsewhere with --cache DIR");
    }
    errno = saved;
    return code;
}

int uc_within(struct uc_err *err, const char *fmt, ...)
{
    char old[sizeof(err->msg)];
    va_list ap;
    size_t n;

    if (!err)
        return UC_EFAIL;
    memcpy(old, err->msg, sizeof(old));
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    n = strlen(err->msg);
    if (n + 3 < sizeof(err->msg)) {
        memcpy(err->msg + n, ": ", 3);
        n += 2;
        size_t room = sizeof(err->msg) - n - 1, have = strlen(old);
        if (have > room)
            have = room;
        memcpy(err->msg + n, old, have);
        err->msg[n + have] = 0;
    }
    return err->code;
}

int uc_fix(struct uc_err *err, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return UC_EFAIL;
    va_start(ap, fmt);
    vsnprintf(err->fix, sizeof(err->fix), fmt, ap);
    va_end(ap);
    return err->code;
}

int uc_exit_code(int code)
{
    switch (code) {
    case UC_OK:
        return 0;
    case UC_EUSAGE:
        return 2;
    case UC_EREFUSED:
        return 3;
    case UC_EGATE:
        return 4;
    case UC_EACCESS:
        return 5;
    case UC_ERESOURCE:
        return 6;
    case UC_EBUSY:
        return 7;
    case UC_EINTR:
        return 130;
    default:
        return 1;
    }
}
