/*
 * Errors: every call that can fail returns 0 or a negative enum uc_code and fills the caller's
 * struct uc_err. No heap, so it is safe when memory is gone and across a Lua raise.
 * A message says what and where; the fix says what the user can do about it.
 */
#ifndef UC_BASE_ERR_H
#define UC_BASE_ERR_H

#include <stdarg.h>

enum uc_code {
    UC_OK = 0,
    UC_EFAIL = -1,     /* run time error, or a verification that failed */
    UC_EUSAGE = -2,    /* command line or recipe is wrong */
    UC_EREFUSED = -3,  /* unsupported, already quantized or unsafe input */
    UC_EGATE = -4,     /* built, but a quality gate failed */
    UC_EACCESS = -5,   /* gated, no token, offline and not cached */
    UC_ERESOURCE = -6, /* disk, memory or device is not enough */
    UC_EBUSY = -7,     /* another run holds it, or the cache is of another version */
    UC_EIO = -8,       /* a system call failed; errno is in the message */
    UC_ECORRUPT = -9,  /* bytes are not what their name or checksum says */
    UC_ENOTFOUND = -10,
    UC_EINTR = -11, /* interrupted by the user */
};

struct uc_err {
    int code;
    char msg[1400]; /* what and where */
    char fix[600];  /* how to fix it; may be empty */
};

/* Formats into err (NULL is allowed) and returns code. A former message is replaced. */
int uc_fail(struct uc_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int uc_vfail(struct uc_err *err, int code, const char *fmt, va_list ap);

/* As uc_fail, with ": strerror(errno)" appended; ENOSPC, EDQUOT and ENOMEM become UC_ERESOURCE. */
int uc_fail_errno(struct uc_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prefixes the message with "fmt: " and returns the code that err already holds. */
int uc_within(struct uc_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the fix line of err and returns the code it already holds. */
int uc_fix(struct uc_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Process exit code of an enum uc_code: 0, 1, 2, 3, 4, 5, 6, 7 or 130 (docs/errors.md). */
int uc_exit_code(int code);

#endif
