#include "engine/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static const char manifest_name[] = "ultracompress.json";

/* The manifest of a folder that uc made; NULL when there is none (or it is not ours). */
static json_t *our_manifest(const char *dir)
{
    char *path = uc_path_join(dir, manifest_name);
    json_t *m = uc_json_load(path, 0, NULL);

    free(path);
    if (m && uc_str_starts(uc_json_str(m, "tooling_version", ""), "uc"))
        return m;
    json_decref(m);
    return NULL;
}

static bool is_right(struct uc_cache *c, const char *dir, const struct uc_target_file *files,
                     size_t n)
{
    bool right = true;

    for (size_t i = 0; i < n && right; i++) {
        char *path = uc_path_join(dir, files[i].name);
        struct uc_digest d;
        struct stat st;
        right = lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
                (uint64_t)st.st_size == files[i].size &&
                uc_cache_file_digest(c, path, &d, NULL, NULL) == 0 &&
                uc_digest_eq(&d, &files[i].digest);
        free(path);
    }
    return right;
}

static bool is_listed(const struct uc_target_file *files, size_t n, const json_t *manifest,
                      const char *name)
{
    if (strcmp(name, manifest_name) == 0 ||
        json_object_get(json_object_get(manifest, "files"), name))
        return true;
    for (size_t i = 0; i < n; i++)
        if (strcmp(files[i].name, name) == 0)
            return true;
    return false;
}

static int link_into(const char *from, const char *to, struct uc_err *err)
{
    char *dir = uc_path_dir(to);
    int rc = uc_mkdirs(dir, err);

    if (rc == 0 && link(from, to) < 0)
        rc = uc_fail_errno(err, "keep %s", from);
    free(dir);
    return rc;
}

/*
 * Files in the old folder (sub: the part below it) that neither its manifest nor the new artifact
 * knows are the user's: they stay, as links in the new folder.
 */
static int keep_foreign(const char *old, const char *fresh, const char *sub,
                        const struct uc_target_file *files, size_t n, const json_t *manifest,
                        struct uc_err *err)
{
    char *here = *sub ? uc_path_join(old, sub) : uc_xstrdup(old);
    DIR *d = opendir(here);
    struct dirent *e;
    int rc = d ? 0 : uc_fail_errno(err, "%s", here);

    while (rc == 0 && (e = readdir(d))) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *name = *sub ? uc_path_join(sub, e->d_name) : uc_xstrdup(e->d_name);
        char *from = uc_path_join(old, name), *to = uc_path_join(fresh, name);
        if (lstat(from, &st) < 0)
            rc = uc_fail_errno(err, "%s", from);
        else if (S_ISDIR(st.st_mode))
            rc = keep_foreign(old, fresh, name, files, n, manifest, err);
        else if (!is_listed(files, n, manifest, name))
            rc = link_into(from, to, err);
        free(name);
        free(from);
        free(to);
    }
    if (d)
        closedir(d);
    free(here);
    return rc;
}

static int write_data(const char *dst, const struct uc_target_file *f, struct uc_err *err)
{
    struct uc_map m = {.fd = -1};
    const uint8_t *data = f->data;
    int rc = 0, fd;

    if (f->path) {
        rc = uc_map_open(&m, f->path, err);
        if (rc == 0 && m.size < f->offset + f->size)
            rc = uc_fail(err, UC_ECORRUPT, "%s: is shorter than it was", f->path);
        data = m.data ? m.data + f->offset : NULL;
    }
    if (rc == 0) {
        fd = open(dst, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        rc = fd < 0 ? uc_fail_errno(err, "%s: create", dst)
                    : uc_write_all(fd, data, f->size, dst, err);
        if (fd >= 0 && close(fd) < 0 && rc == 0)
            rc = uc_fail_errno(err, "%s: close", dst);
    }
    uc_map_close(&m);
    return rc;
}

static int sync_file(const char *path, struct uc_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

    if (fd < 0)
        return uc_fail_errno(err, "%s", path);
    if (fsync(fd) < 0)
        rc = uc_fail_errno(err, "%s: fsync", path);
    close(fd);
    return rc;
}

/* Writes one file and reads it back. Its digest then stands in the stat cache, which is what makes
 * the next comparison cheap. */
static int write_file(struct uc_cache *c, const char *dir, const struct uc_target_file *f,
                      struct uc_err *err)
{
    char *dst = uc_path_join(dir, f->name), *sub = uc_path_dir(dst);
    struct uc_digest d;
    int rc = uc_mkdirs(sub, err);

    if (rc == 0)
        rc = f->is_blob ? uc_copy_file(f->path, dst, 0644, err) : write_data(dst, f, err);
    if (rc == UC_ENOTFOUND && f->is_blob)
        rc = uc_fail(err, UC_ECORRUPT, "%s: is gone", f->path);
    if (rc == 0 && uc_cache_syncs(c))
        rc = sync_file(dst, err);
    if (rc == 0 && uc_cache_syncs(c))
        rc = uc_sync_dir(sub, err);
    if (rc == 0)
        rc = uc_cache_file_digest(c, dst, &d, NULL, err);
    if (rc == 0 && !uc_digest_eq(&d, &f->digest))
        rc = uc_fail(err, UC_ECORRUPT, "%s: the bytes written are not those planned", dst);
    free(dst);
    free(sub);
    return rc;
}

/* Removes what builds that were killed left beside dir. */
static void sweep(const char *parent, const char *base)
{
    char *prefix = uc_xasprintf("%s.uc-partial.", base);
    DIR *d = opendir(parent);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        pid_t pid;
        if (!uc_str_starts(e->d_name, prefix))
            continue;
        pid = (pid_t)strtol(e->d_name + strlen(prefix), NULL, 10);
        if (pid > 0 && pid != getpid() && kill(pid, 0) < 0 && errno == ESRCH) {
            char *path = uc_path_join(parent, e->d_name);
            uc_remove_tree(path, NULL);
            free(path);
        }
    }
    if (d)
        closedir(d);
    free(prefix);
}

static bool is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    bool empty = d != NULL;

    while (empty && (e = readdir(d)))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d)
        closedir(d);
    return empty;
}

/* 0: dir is not there or empty; 1: uc made it (*manifest); negative: it is somebody else's. */
static int whose(const char *dir, json_t **manifest, struct uc_err *err)
{
    *manifest = NULL;
    if (access(dir, F_OK) < 0 || is_empty(dir))
        return 0;
    *manifest = our_manifest(dir);
    if (*manifest)
        return 1;
    uc_fail(err, UC_EFAIL, "%s: exists, and uc did not make it (there is no %s of uc in it)", dir,
            manifest_name);
    return uc_fix(err, "choose another --output-dir, or move that folder away");
}

/* partial becomes dir; what stood there becomes partial, or is gone. */
static int take_place(const char *partial, const char *dir, bool exists, struct uc_err *err)
{
    json_t *manifest;
    char *aside;
    int rc = 0;

    if (!exists && rename(partial, dir) == 0)
        return 0;
    if (!exists && errno != ENOTEMPTY && errno != EEXIST)
        return uc_fail_errno(err, "%s: rename into place", dir);
    if (!exists) { /* somebody was faster: another build, or somebody else altogether */
        rc = whose(dir, &manifest, err);
        json_decref(manifest);
        if (rc < 0)
            return rc;
        rc = 0;
    }
    if (renameat2(AT_FDCWD, partial, AT_FDCWD, dir, RENAME_EXCHANGE) == 0)
        return 0;
    /* No exchange on this file system: for an instant there is no folder, never half of one. */
    aside = uc_xasprintf("%s.old", partial);
    if (rename(dir, aside) < 0)
        rc = uc_fail_errno(err, "%s: rename aside", dir);
    else if (rename(partial, dir) < 0) {
        rc = uc_fail_errno(err, "%s: rename into place", dir);
        rename(aside, dir);
    }
    if (rc == 0)
        uc_remove_tree(aside, NULL);
    free(aside);
    return rc;
}

int uc_target_check(const char *dir, struct uc_err *err)
{
    char *parent = uc_path_dir(dir);
    json_t *manifest;
    int rc = uc_mkdirs(parent, err);

    if (rc == 0 && access(parent, W_OK) < 0)
        rc = uc_fail_errno(err, "%s: cannot be written", parent);
    if (rc < 0)
        uc_fix(err, "choose another --output-dir");
    else
        rc = whose(dir, &manifest, err);
    if (rc == 1)
        json_decref(manifest);
    free(parent);
    return rc < 0 ? rc : 0;
}

static int fill(struct uc_cache *c, const char *partial, const char *dir, const json_t *manifest,
                const struct uc_target_file *files, size_t n, size_t *bad, struct uc_err *err)
{
    int rc = uc_remove_tree(partial, err);

    if (rc == 0)
        rc = uc_mkdirs(partial, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        *bad = i;
        rc = write_file(c, partial, &files[i], err);
    }
    if (rc == 0 && manifest)
        rc = keep_foreign(dir, partial, "", files, n, manifest, err);
    if (rc == 0 && uc_cache_syncs(c))
        rc = uc_sync_dir(partial, err);
    return rc;
}

int uc_target_write(struct uc_cache *c, const char *dir, const struct uc_target_file *files,
                    size_t n, bool *changed, size_t *bad, struct uc_err *err)
{
    char *place = uc_xstrdup(dir), *parent, *partial;
    json_t *manifest;
    int rc;

    for (size_t len = strlen(place); len > 1 && place[len - 1] == '/'; len--)
        place[len - 1] = 0;
    parent = uc_path_dir(place);
    partial = uc_xasprintf("%s.uc-partial.%ld", place, (long)getpid());
    *changed = false;
    sweep(parent, uc_path_base(place));
    rc = whose(place, &manifest, err);
    if (rc == 1 && is_right(c, place, files, n)) {
        rc = 0;
        goto out;
    }
    if (rc >= 0) {
        bool exists = rc == 1;
        rc = fill(c, partial, place, manifest, files, n, bad, err);
        if (rc == UC_ERESOURCE)
            uc_fix(err, "free disk space there, or choose another folder for the artifact");
        if (rc == 0)
            rc = take_place(partial, place, exists, err);
        if (rc == 0 && uc_cache_syncs(c))
            rc = uc_sync_dir(parent, err);
        *changed = rc == 0;
        uc_remove_tree(partial, NULL);
    }
out:
    json_decref(manifest);
    free(place);
    free(parent);
    free(partial);
    return rc;
}
