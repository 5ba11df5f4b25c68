#include "engine/cli/build.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/cli/progress.h"
#include "engine/cli/summary.h"
#include "engine/memo.h"

static volatile sig_atomic_t interrupts;

static void on_signal(int sig)
{
    interrupts = sig == SIGINT ? interrupts + 1 : 2;
}

/* The first Ctrl-C lets running actions finish, the second stops them; a closed terminal does not
 * stop a build. */
static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sa.sa_handler = SIG_IGN;
    sigaction(SIGHUP, &sa, NULL);
}

static void print_results(const struct uc_cli *cli, json_t *list)
{
    if (cli->json)
        uc_print_json(json_pack("{s:o}", "artifacts", list));
    else
        json_decref(list);
}

/* What the memo keeps of a build: enough to say what is there without looking at the graph. */
static void remember(struct uc_session *s, const struct uc_digest *key, const json_t *summary)
{
    struct uc_err err = {0};
    const char **written;
    size_t n = 0, cap = 1;

    if (!s->recipe.memo_ok)
        return;
    for (size_t i = 0; i < s->n_targets; i++)
        cap += s->targets[i]->n_files;
    written = uc_xcalloc(cap, sizeof(*written));
    for (size_t i = 0; i < s->n_targets; i++)
        for (size_t k = 0; s->targets[i]->dir && k < s->targets[i]->n_files; k++)
            written[n++] = uc_path_join(s->targets[i]->dir, s->targets[i]->files[k].name);
    if (uc_memo_store(s->cache, key, s->recipe.files, s->recipe.n_files, written, n, summary,
                      &err) < 0)
        fprintf(stderr, "warning: the build is not remembered: %s\n", err.msg);
    for (size_t i = 0; i < n; i++)
        free((char *)written[i]);
    free(written);
}

/* Everything to print again next time: [{name, dir, manifest}]. */
static json_t *memo_entry(const struct uc_summary *s)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", json_string(s->name));
    if (s->dir)
        json_object_set_new(o, "dir", json_string(s->dir));
    if (s->manifest)
        json_object_set(o, "manifest", (json_t *)s->manifest);
    return o;
}

static void show(const struct uc_cli *cli, const struct uc_summary *s, json_t *list)
{
    if (cli->json)
        json_array_append_new(list, uc_summary_json(s));
    else
        uc_summary_print(cli, s);
}

static bool known_already(struct uc_session *s, const struct uc_digest *key, double since,
                          struct uc_err *err)
{
    json_t *memo = NULL, *entry, *list;
    size_t i;

    if (uc_cli_given(s->cli, "force") || uc_cli_given(s->cli, "until") ||
        uc_memo_check(s->cache, key, &memo, err) != 1)
        return false;
    list = json_array();
    json_array_foreach(memo, i, entry)
    {
        const struct uc_summary sum = {
            .name = uc_json_str(entry, "name", "?"),
            .dir = uc_json_str(entry, "dir", NULL),
            .manifest = json_object_get(entry, "manifest"),
            .seconds = uc_now() - since,
        };
        show(s->cli, &sum, list);
    }
    print_results(s->cli, list);
    json_decref(memo);
    return true;
}

static void finish(struct uc_session *s, const struct uc_build_result *res, uint64_t peak,
                   double since, const struct uc_digest *key)
{
    json_t *memo = json_array(), *list = json_array();

    for (size_t i = 0; i < s->n_targets; i++) {
        const struct uc_summary sum = {
            .name = s->targets[i]->name,
            .dir = s->targets[i]->dir,
            .manifest = res->targets[i].summary,
            .changed = res->targets[i].changed,
            .seconds = uc_now() - since,
            .saved = res->saved_seconds,
            .peak_rss = peak,
            .n_actions = res->n_actions,
            .n_hit = res->n_hit + res->n_adopted,
            .n_ran = res->n_ran,
        };
        show(s->cli, &sum, list);
        json_array_append_new(memo, memo_entry(&sum));
    }
    print_results(s->cli, list);
    if (!uc_cli_given(s->cli, "until"))
        remember(s, key, memo);
    json_decref(memo);
}

static int run_build(struct uc_session *s, const struct uc_digest *key, double since,
                     struct uc_err *err)
{
    struct uc_build_opts o;
    struct uc_build_result res = {0};
    struct uc_progress *p;
    int rc = uc_session_build_opts(s, &o, err);

    if (rc < 0)
        return rc;
    catch_signals();
    p = uc_progress_new(s->cli, &s->recipe.graph, s->targets, s->n_targets, &interrupts);
    o.keep_going = uc_cli_flag(s->cli, "keep-going");
    o.force = uc_cli_text(s->cli, "force", NULL);
    o.until = uc_cli_text(s->cli, "until", NULL);
    o.interrupts = &interrupts;
    o.event = uc_progress_event;
    o.arg = p;
    rc = uc_build(s->cache, &s->recipe.graph, s->targets, s->n_targets, &o, &res, err);
    uint64_t peak = uc_progress_peak(p);
    uc_progress_free(p);
    if (rc == 0 && !o.until)
        finish(s, &res, peak, since, key);
    uc_build_result_release(&res);
    return rc;
}

int uc_cli_build(struct uc_session *s, struct uc_err *err)
{
    double since = uc_now();
    char *params = uc_session_params(s);
    struct uc_digest key;
    int rc = 0;

    uc_memo_key(uc_session_recipe_name(s), params, &key);
    free(params);
    if (known_already(s, &key, since, err))
        return 0;
    rc = uc_session_load(s, err);
    return rc < 0 ? rc : run_build(s, &key, since, err);
}
