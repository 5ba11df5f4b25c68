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

static int run(struct uc_cli *cli, struct uc_err *err)
{
    const char *given = uc_cli_text(cli, "cache", NULL);
    char *dir = given ? uc_xstrdup(given) : uc_cache_default_dir();
    char *path = find_build(cli, dir, err);
    int rc = path ? print_log(cli, path, err) : err->code;

    free(path);
    free(dir);
    return rc;
}

const struct uc_command uc_cmd_log = {
    .name = "log",
    .summary = "what the last build did, event by event",
    .usage = "[BUILD]",
    .examples = "uc log          the last build\n"
                "uc log --json   its events as they were written, one JSON object a line",
    .max_args = 1,
    .run = run,
};
