#include "cache/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cache/internal.h"

/* Sets a whole-file lock of the open description (F_RDLCK, F_WRLCK, F_UNLCK). */
static int lock_fd(int fd, short type, bool wait)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET};
    int rc;

    do {
        rc = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &fl);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

/* The name still leads to the file that fd is: its last holder has not removed it meanwhile. */
static bool still_named(int fd, const char *path)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

int uc_lease_try(struct uc_cache *c, const struct uc_digest *key, const char *me,
                 struct uc_lease *out, char *holder, size_t cap, struct uc_err *err)
{
    char hex[UC_HEX_LEN + 1];
    char *path = uc_xasprintf("%s/locks/%s", c->dir, uc_digest_hex(key, hex));
    int rc = -1, fd = -1;

    out->fd = -1;
    out->path = NULL;
    while (rc < 0) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            rc = uc_fail_errno(err, "%s", path);
            free(path);
            return rc;
        }
        if (lock_fd(fd, F_WRLCK, false) < 0)
            rc = 0;
        else if (still_named(fd, path))
            rc = 1;
        else
            close(fd);
    }
    if (rc == 1) {
        /* For people only: the lock is what counts, so a failed write is no error. */
        if (ftruncate(fd, 0) < 0 || pwrite(fd, me, strlen(me), 0) < 0)
            errno = 0;
        out->fd = fd;
        out->path = path;
        return 1;
    }
    ssize_t n = pread(fd, holder, cap - 1, 0);
    holder[n > 0 ? n : 0] = 0;
    if (!holder[0])
        snprintf(holder, cap, "another build");
    close(fd);
    free(path);
    return 0;
}

void uc_lease_release(struct uc_lease *l)
{
    if (l->fd < 0)
        return;
    unlink(l->path);
    close(l->fd);
    free(l->path);
    l->fd = -1;
    l->path = NULL;
}

int uc_presence_enter(struct uc_cache *c, struct uc_presence *p, struct uc_err *err)
{
    char *path = uc_xasprintf("%s/locks/builds", c->dir);
    int rc = 0;

    p->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (p->fd < 0 || lock_fd(p->fd, F_RDLCK, true) < 0)
        rc = uc_fail_errno(err, "%s", path);
    free(path);
    return rc;
}

bool uc_presence_alone(struct uc_presence *p)
{
    return lock_fd(p->fd, F_WRLCK, false) == 0;
}

void uc_presence_share(struct uc_presence *p)
{
    lock_fd(p->fd, F_RDLCK, false);
}

void uc_presence_leave(struct uc_presence *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}
