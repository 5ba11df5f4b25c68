#include "cache/db.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { SCHEMA_VERSION = 1, BUSY_MS = 60000 };

static const char schema[] =
    "CREATE TABLE files(inode INT, size INT, mtime INT, ctime INT, digest BLOB NOT NULL,"
    " PRIMARY KEY(inode, size, mtime, ctime)) WITHOUT ROWID;"
    "CREATE TABLE meta(key BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE results(key BLOB PRIMARY KEY, op TEXT, bytes INT, seconds REAL, used INT)"
    " WITHOUT ROWID;"
    "CREATE TABLE history(op TEXT, class INT, n INT, seconds REAL, work REAL,"
    " PRIMARY KEY(op, class)) WITHOUT ROWID;"
    "CREATE TABLE last(scope TEXT, name TEXT, key BLOB, text TEXT, PRIMARY KEY(scope, name))"
    " WITHOUT ROWID;";

enum stmt {
    BEGIN,
    COMMIT,
    FILE_GET,
    FILE_PUT,
    META_GET,
    META_PUT,
    RESULT_PUT,
    RESULT_USED,
    HISTORY_ADD,
    HISTORY_GET,
    HISTORY_MEAN,
    LAST_GET,
    LAST_PUT,
    N_STMT
};

static const char *const sql[N_STMT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [FILE_GET] = "SELECT digest FROM files WHERE inode=? AND size=? AND mtime=? AND ctime=?",
    [FILE_PUT] = "INSERT OR REPLACE INTO files VALUES(?,?,?,?,?)",
    [META_GET] = "SELECT data FROM meta WHERE key=?",
    [META_PUT] = "INSERT OR REPLACE INTO meta VALUES(?,?)",
    [RESULT_PUT] = "INSERT OR REPLACE INTO results VALUES(?,?,?,?,CAST(strftime('%s') AS INT))",
    [RESULT_USED] = "UPDATE results SET used=CAST(strftime('%s') AS INT) WHERE key=?",
    /* A moving mean over the last eight runs or so. */
    [HISTORY_ADD] = "INSERT INTO history VALUES(?1,?2,1,?3,?4) ON CONFLICT DO UPDATE SET"
                    " seconds=seconds+(excluded.seconds-seconds)/(min(n,7)+1),"
                    " work=work+(excluded.work-work)/(min(n,7)+1), n=n+1",
    [HISTORY_GET] = "SELECT seconds, work FROM history WHERE op=? AND class=?",
    [HISTORY_MEAN] = "SELECT sum(seconds), sum(work) FROM history WHERE op=?",
    [LAST_GET] = "SELECT key, text FROM last WHERE scope=? AND name=?",
    [LAST_PUT] = "INSERT OR REPLACE INTO last VALUES(?,?,?,?)",
};

struct uc_db {
    char *path;
    sqlite3 *h; /* NULL: unusable */
    sqlite3_stmt *st[N_STMT];
    bool told; /* the user knows that it does not work */
};

static void shut(struct uc_db *db)
{
    for (int i = 0; i < N_STMT; i++) {
        sqlite3_finalize(db->st[i]);
        db->st[i] = NULL;
    }
    sqlite3_close(db->h);
    db->h = NULL;
}

static void complain(struct uc_db *db, const char *what)
{
    if (!db->told)
        uc_warn("index %s: %s; going on without it", db->path, what);
    db->told = true;
}

static bool is_damage(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

static int pragma_int(sqlite3 *h, const char *text, int *out)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(h, text, -1, &st, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *out = sqlite3_column_int(st, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc;
}

/* Makes the tables unless another process has done so meanwhile. */
static int init_schema(struct uc_db *db, int *version, bool *fresh)
{
    int rc = sqlite3_exec(db->h, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (rc == SQLITE_OK)
        rc = pragma_int(db->h, "PRAGMA user_version", version);
    if (rc == SQLITE_OK && *version == 0) {
        rc = sqlite3_exec(db->h, schema, NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            rc = sqlite3_exec(db->h, "PRAGMA user_version=1", NULL, NULL, NULL);
        *fresh = rc == SQLITE_OK;
        *version = SCHEMA_VERSION;
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->h, "COMMIT", NULL, NULL, NULL);
    return rc;
}

/* Opens db->path and makes the tables when it is new. Returns an SQLite code. */
static int open_at(struct uc_db *db, bool *fresh)
{
    int version = 0, rc;

    rc = sqlite3_open_v2(db->path, &db->h,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_busy_timeout(db->h, BUSY_MS);
    rc = pragma_int(db->h, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK && version == 0)
        rc = init_schema(db, &version, fresh);
    if (rc == SQLITE_OK && version != SCHEMA_VERSION)
        rc = SQLITE_NOTADB;
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->h, "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=NORMAL;", NULL,
                          NULL, NULL);
    for (int i = 0; i < N_STMT && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(db->h, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &db->st[i], NULL);
    return rc;
}

/* Nothing in the index is irreplaceable: a damaged one, or another version's, is moved aside. */
static void reopen(struct uc_db *db, bool *fresh)
{
    int rc = open_at(db, fresh);

    if (is_damage(rc)) {
        char *aside = uc_xasprintf("%s.damaged-%ld", db->path, (long)getpid());
        char *journal = uc_xasprintf("%s-journal", db->path);
        shut(db);
        uc_warn("index %s is damaged or of another version: moved aside, made anew", db->path);
        if (rename(db->path, aside) < 0 && errno != ENOENT)
            unlink(db->path);
        unlink(journal);
        free(aside);
        free(journal);
        rc = open_at(db, fresh);
    }
    if (rc != SQLITE_OK) {
        complain(db, db->h ? sqlite3_errmsg(db->h) : sqlite3_errstr(rc));
        shut(db);
    }
}

struct uc_db *uc_db_open(const char *path, bool *fresh)
{
    struct uc_db *db = uc_xcalloc(1, sizeof(*db));

    *fresh = false;
    db->path = uc_xstrdup(path);
    reopen(db, fresh);
    return db;
}

void uc_db_close(struct uc_db *db)
{
    if (!db)
        return;
    shut(db);
    free(db->path);
    free(db);
}

/*
 * Binds and steps a statement once. fmt: t text, i int64_t, d double, k digest, b pointer and size.
 * Returns the statement when it gave a row (reset it with done), else NULL.
 */
static sqlite3_stmt *run(struct uc_db *db, enum stmt which, const char *fmt, ...)
{
    sqlite3_stmt *st = db->st[which];
    va_list ap;
    int rc, i = 1;

    if (!db->h)
        return NULL;
    va_start(ap, fmt);
    for (const char *f = fmt; *f; f++, i++) {
        if (*f == 't') {
            sqlite3_bind_text(st, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
        } else if (*f == 'i') {
            sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
        } else if (*f == 'd') {
            sqlite3_bind_double(st, i, va_arg(ap, double));
        } else if (*f == 'k') {
            const struct uc_digest *d = va_arg(ap, const struct uc_digest *);
            sqlite3_bind_blob(st, i, d->b, sizeof(d->b), SQLITE_STATIC);
        } else {
            const void *p = va_arg(ap, const void *);
            sqlite3_bind_blob64(st, i, p, va_arg(ap, size_t), SQLITE_STATIC);
        }
    }
    va_end(ap);
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return st;
    sqlite3_reset(st);
    if (is_damage(rc)) {
        bool fresh = false;
        shut(db);
        reopen(db, &fresh);
    } else if (rc != SQLITE_DONE) {
        complain(db, sqlite3_errmsg(db->h));
    }
    return NULL;
}

static void done(sqlite3_stmt *st)
{
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

static bool column_digest(sqlite3_stmt *st, int col, struct uc_digest *out)
{
    if (sqlite3_column_bytes(st, col) != (int)sizeof(out->b))
        return false;
    memcpy(out->b, sqlite3_column_blob(st, col), sizeof(out->b));
    return true;
}

void uc_db_begin(struct uc_db *db)
{
    run(db, BEGIN, "");
}

void uc_db_commit(struct uc_db *db)
{
    if (db->h && !sqlite3_get_autocommit(db->h))
        run(db, COMMIT, "");
}

bool uc_db_file_get(struct uc_db *db, const struct uc_fident *id, struct uc_digest *out)
{
    sqlite3_stmt *st = run(db, FILE_GET, "iiii", (int64_t)id->inode, (int64_t)id->size,
                           id->mtime_ns, id->ctime_ns);
    bool found = st && column_digest(st, 0, out);

    if (st)
        done(st);
    return found;
}

void uc_db_file_put(struct uc_db *db, const struct uc_fident *id, const struct uc_digest *d)
{
    run(db, FILE_PUT, "iiiik", (int64_t)id->inode, (int64_t)id->size, id->mtime_ns, id->ctime_ns,
        d);
}

bool uc_db_meta_get(struct uc_db *db, const struct uc_digest *key, void **data, size_t *len)
{
    sqlite3_stmt *st = run(db, META_GET, "k", key);

    if (!st)
        return false;
    *len = (size_t)sqlite3_column_bytes(st, 0);
    *data = uc_xmalloc(*len + 1);
    if (*len)
        memcpy(*data, sqlite3_column_blob(st, 0), *len);
    ((char *)*data)[*len] = 0;
    done(st);
    return true;
}

void uc_db_meta_put(struct uc_db *db, const struct uc_digest *key, const void *data, size_t len)
{
    run(db, META_PUT, "kb", key, data, len);
}

void uc_db_result_put(struct uc_db *db, const struct uc_digest *key, const char *op, uint64_t bytes,
                      double seconds)
{
    run(db, RESULT_PUT, "ktid", key, op, (int64_t)bytes, seconds);
}

void uc_db_result_used(struct uc_db *db, const struct uc_digest *key)
{
    run(db, RESULT_USED, "k", key);
}

static int64_t size_class(double work)
{
    return work > 0 ? (int64_t)floor(log2(work)) : INT64_MIN;
}

void uc_db_history_add(struct uc_db *db, const char *op, double work, double seconds)
{
    run(db, HISTORY_ADD, "tidd", op, size_class(work), seconds, work);
}

bool uc_db_history_get(struct uc_db *db, const char *op, double work, double *seconds)
{
    sqlite3_stmt *st = run(db, HISTORY_GET, "ti", op, size_class(work));
    double past = 0, past_work = 0;
    bool same_class = st != NULL;

    if (!st)
        st = run(db, HISTORY_MEAN, "t", op);
    if (!st || sqlite3_column_type(st, 0) == SQLITE_NULL) {
        if (st)
            done(st);
        return false;
    }
    past = sqlite3_column_double(st, 0);
    past_work = sqlite3_column_double(st, 1);
    done(st);
    if (past_work > 0 && work > 0)
        past *= work / past_work;
    else if (!same_class)
        return false;
    *seconds = past;
    return true;
}

bool uc_db_last_get(struct uc_db *db, const char *scope, const char *name, struct uc_digest *key,
                    char **text)
{
    sqlite3_stmt *st = run(db, LAST_GET, "tt", scope, name);
    bool found = st && column_digest(st, 0, key);

    if (found)
        *text = uc_xstrdup((const char *)sqlite3_column_text(st, 1));
    if (st)
        done(st);
    return found;
}

void uc_db_last_put(struct uc_db *db, const char *scope, const char *name,
                    const struct uc_digest *key, const char *text)
{
    run(db, LAST_PUT, "ttkt", scope, name, key, text);
}
