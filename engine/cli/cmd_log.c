#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/fsio.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cache/cache.h"
#include "engine/cli/cli.h"

/* Build ids sort by time, so the newest is the greatest name. Caller frees; NULL: no build yet. */
static char *newest_build(const char *cache_dir)
{
    char *dir = uc_path_join(cache_dir, "builds"), *best = NULL, *path;
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        if (!uc_str_ends(e->d_name, ".ndjson") || (best && strcmp(e->d_name, best) <= 0))
            continue;
        free(best);
        best = uc_xstrdup(e->d_name);
    }
    if (d)
        closedir(d);
    path = best ? uc_path_join(dir, best) : NULL;
    free(best);
    free(dir);
    return path;
}

static char *find_build(const struct uc_cli *cli, const char *cache_dir, struct uc_err *err)
{
    char *path, *name;

    if (cli->n_args) {
        name = uc_xasprintf("builds/%s.ndjson", cli->args[0]);
        path = uc_path_join(cache_dir, name);
        free(name);
        return path;
    }
    path = newest_build(cache_dir);
    if (!path)
        uc_fail(err, UC_EUSAGE, "no build has been run with this cache");
    return path;
}

static void print_event(const json_t *e)
{
    const char *kind = uc_json_str(e, "ev", "?"), *detail = uc_json_str(e, "detail", NULL);
    const char *text = uc_json_str(e, "text", NULL);
    const char *outcome = uc_json_str(e, "outcome", uc_json_str(e, "why", NULL));

    if (!strcmp(kind, "progress"))
        return;
    printf("%9.2fs  %-6s %s%s%s%s%s%s%s\n", uc_json_num(e, "t", 0), kind,
           uc_json_str(e, "action", uc_json_str(e, "target", "")), outcome ? "  " : "",
           outcome ? outcome : "", detail ? ": " : "", detail ? detail : "", text ? "  " : "",
           text ? text : "");
}

/* The last line may be half written: a build may be running. */
static int print_log(const struct uc_cli *cli, const char *path, struct uc_err *err)
{
    char *text, *line, *save;
    size_t n;
    int rc = uc_read_file(path, 0, &text, &n, err);

    if (rc < 0)
        return rc;
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct uc_err bad;
        json_t *e;

        if (cli->json) {
            puts(line);
            continue;
        }
        e = uc_json_parse(line, strlen(line), path, &bad);
        if (e)
            print_event(e);
        json_decref(e);
    }
    free(text);
    return 0;
}

/* What a build's events add up to. */
struct status {
    json_t *running; /* action -> seconds at which it began */
    json_t *plan;    /* the last event with totals */
    size_t n_ended;
    double at;
};

static void add_event(struct status *s, json_t *e)
{
    const char *kind = uc_json_str(e, "ev", ""), *action = uc_json_str(e, "action", NULL);

    s->at = uc_json_num(e, "t", s->at);
    if (!strcmp(kind, "start") && action)
        json_object_set_new(s->running, action, json_real(s->at));
    if (!strcmp(kind, "end") && action) {
        json_object_del(s->running, action);
        s->n_ended++;
    }
    if (!strcmp(kind, "plan") || !strcmp(kind, "done")) {
        json_decref(s->plan);
        s->plan = json_incref(e);
    }
}

static void print_status(const struct uc_cli *cli, const struct status *s, const char *path)
{
    const char *kind = uc_json_str(s->plan, "ev", ""), *text = uc_json_str(s->plan, "text", NULL);
    bool ended = !strcmp(kind, "done");
    const char *state = !ended ? "running, or stopped without an end" : text ? "failed" : "done";
    const char *name;
    json_t *since;

    if (cli->json) {
        json_t *o =
            json_pack("{s:s, s:O, s:I, s:f}", "state", ended ? (text ? "failed" : "done") : "open",
                      "running", s->running, "ended", (json_int_t)s->n_ended, "seconds", s->at);
        if (text)
            json_object_set_new(o, "error", json_string(text));
        uc_print_json(o);
        return;
    }
    printf("build %.*s: %s\n", (int)strcspn(uc_path_base(path), "."), uc_path_base(path), state);
    printf("  %zu of %lld actions done after %.1f s\n", s->n_ended,
           (long long)uc_json_int(s->plan, "actions", 0), s->at);
    json_object_foreach(s->running, name, since)
        printf("  %s, since %.1f s\n", name, s->at - json_real_value(since));
    if (text)
        printf("  %s\n", text);
}

static int read_status(const struct uc_cli *cli, const char *path, struct uc_err *err)
{
    struct status s = {.running = json_object()};
    char *text, *line, *save;
    size_t n;
    int rc = uc_read_file(path, 0, &text, &n, err);

    if (rc == 0) {
        for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
            struct uc_err bad;
            json_t *e = uc_json_parse(line, strlen(line), path, &bad);

            if (e)
                add_event(&s, e);
            json_decref(e);
        }
        free(text);
        print_status(cli, &s, path);
    }
    json_decref(s.running);
    json_decref(s.plan);
    return rc;
}

static int with_build(struct uc_cli *cli,
                      int (*fn)(const struct uc_cli *cli, const char *path, struct uc_err *err),
                      struct uc_err *err)
{
    const char *given = uc_cli_text(cli, "cache", NULL);
    char *dir = given ? uc_xstrdup(given) : uc_cache_default_dir();
    char *path = find_build(cli, dir, err);
    int rc = path ? fn(cli, path, err) : err->code;

    free(path);
    free(dir);
    return rc;
}

static int run(struct uc_cli *cli, struct uc_err *err)
{
    return with_build(cli, print_log, err);
}

static int run_status(struct uc_cli *cli, struct uc_err *err)
{
    return with_build(cli, read_status, err);
}

const struct uc_command uc_cmd_status = {
    .name = "status",
    .summary = "what the last build is doing, from any terminal",
    .usage = "[BUILD]",
    .examples = "uc status   takes no lock; the build may be running elsewhere",
    .max_args = 1,
    .run = run_status,
};

const struct uc_command uc_cmd_log = {
    .name = "log",
    .summary = "what the last build did, event by event",
    .usage = "[BUILD]",
    .examples = "uc log          the last build\n"
                "uc log --json   its events as they were written, one JSON object a line",
    .max_args = 1,
    .run = run,
};
