#include "engine/cli/progress.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

enum { MAX_ROWS = 4, SLOW_S = 5, BEAT_S = 30, REDRAW_MS = 250 };

struct kind {
    const char *op;
    size_t total, done, ran;
    bool said;
};

struct running {
    const struct uc_action *action;
    double since;
    uint64_t done, total;
    const char *unit;
};

struct uc_progress {
    const struct uc_graph *graph;
    struct uc_term term;
    enum { OFF, PLAIN, LIVE } mode;
    bool all; /* -v: a line for every action */
    struct kind *kinds;
    size_t n_kinds;
    struct running *run;
    size_t n_run;
    int rows; /* of the live area, now on the screen */
    double drawn, spoke;
    uint64_t peak;
    bool planned, said_stop;
    const volatile sig_atomic_t *interrupts;
    char waited_for[200]; /* the build last named as being waited for */
};

static struct kind *kind_of(struct uc_progress *p, const char *op)
{
    for (size_t i = 0; i < p->n_kinds; i++)
        if (!strcmp(p->kinds[i].op, op))
            return &p->kinds[i];
    p->kinds = uc_xrealloc(p->kinds, (p->n_kinds + 1) * sizeof(*p->kinds));
    memset(&p->kinds[p->n_kinds], 0, sizeof(*p->kinds));
    p->kinds[p->n_kinds].op = op;
    return &p->kinds[p->n_kinds++];
}

static void count_kinds(struct uc_progress *p, const struct uc_target *const *targets, size_t n)
{
    const struct uc_graph *g = p->graph;
    uint8_t *seen = uc_xcalloc(g->n_actions + 1, 1);
    uint32_t *ids = uc_xcalloc(g->n_actions + 1, sizeof(*ids));

    for (size_t t = 0; t < n; t++) {
        size_t count;

        uc_graph_closure(g, targets[t], ids, &count);
        for (size_t i = 0; i < count; i++)
            seen[ids[i]] = 1;
    }
    for (size_t i = 0; i < g->n_actions; i++)
        if (seen[i])
            kind_of(p, g->actions[i].op)->total++;
    free(ids);
    free(seen);
}

struct uc_progress *uc_progress_new(const struct uc_cli *cli, const struct uc_graph *g,
                                    const struct uc_target *const *targets, size_t n,
                                    const volatile sig_atomic_t *interrupts)
{
    struct uc_progress *p = uc_xcalloc(1, sizeof(*p));
    const char *how = uc_cli_text(cli, "progress", "auto");

    p->graph = g;
    p->interrupts = interrupts;
    p->all = cli->verbose > 0;
    uc_term_get(cli, stderr, &p->term);
    p->mode = p->term.tty ? LIVE : PLAIN;
    if (!strcmp(how, "plain"))
        p->mode = PLAIN;
    if (!strcmp(how, "off") || cli->quiet)
        p->mode = OFF;
    count_kinds(p, targets, n);
    p->run = uc_xcalloc(g->n_actions + 1, sizeof(*p->run));
    return p;
}

uint64_t uc_progress_peak(const struct uc_progress *p)
{
    return p->peak;
}

/* Takes the live area off the screen; lines printed next stay above it. */
static void erase(struct uc_progress *p)
{
    if (p->rows)
        fprintf(stderr, "\r\033[%dA\033[J", p->rows); /* the terminal may have echoed ^C */
    p->rows = 0;
}

void uc_progress_free(struct uc_progress *p)
{
    if (!p)
        return;
    erase(p);
    free(p->kinds);
    free(p->run);
    free(p);
}

/* Prints at most the terminal's width, cutting the middle out of a long name. */
static void row(struct uc_progress *p, const char *left, const char *right)
{
    int room = p->term.width - 1 - (int)strlen(right), n = (int)strlen(left);

    if (room < 8) {
        fprintf(stderr, "%.*s\n", p->term.width - 1, left);
    } else if (n <= room) {
        fprintf(stderr, "%s%s\n", left, right);
    } else {
        int head = (room - 2) / 2, tail = room - 2 - head;

        fprintf(stderr, "%.*s..%s%s\n", head, left, left + n - tail, right);
    }
    p->rows++;
}

static void bar(const struct uc_progress *p, char *out, size_t n, double share)
{
    const int width = 20, full = (int)(share * width + 0.5);

    out[0] = 0;
    for (int i = 0; i < width && strlen(out) + 4 < n; i++)
        strcat(out, i < full ? (p->term.utf8 ? "\xe2\x96\x88" : "#")
                             : (p->term.utf8 ? "\xc2\xb7" : "."));
}

static void draw_kinds(struct uc_progress *p)
{
    char line[256] = "";

    for (size_t i = 0; i < p->n_kinds; i++) {
        struct kind *k = &p->kinds[i];
        char item[80];

        if (!k->done || k->done == k->total)
            continue;
        snprintf(item, sizeof(item), " %s %zu/%zu ", k->op, k->done, k->total);
        if (strlen(line) + strlen(item) + 2 > (size_t)p->term.width)
            break;
        strcat(line, item);
    }
    if (line[0])
        row(p, line, "");
}

static void draw_running(struct uc_progress *p, double now)
{
    size_t shown = p->n_run < MAX_ROWS ? p->n_run : MAX_ROWS;
    char left[300], right[80], age[32];

    for (size_t i = 0; i < shown; i++) {
        const struct running *r = &p->run[i];

        snprintf(left, sizeof(left), "   %s", r->action->name);
        uc_str_seconds(age, now - r->since);
        if (r->total)
            snprintf(right, sizeof(right), "  %3.0f %%  %s",
                     100.0 * (double)r->done / (double)r->total, age);
        else
            snprintf(right, sizeof(right), "  %s", age);
        row(p, left, right);
    }
    if (p->n_run > shown) {
        snprintf(left, sizeof(left), "   and %zu more", p->n_run - shown);
        row(p, left, "");
    }
}

static void draw(struct uc_progress *p, const struct uc_event *ev, bool now_please)
{
    double now = uc_now();
    size_t done = ev->n_hit + ev->n_ran + ev->n_failed + ev->n_skipped;
    char line[300], graph[100], age[32];

    if (!now_please && now - p->drawn < REDRAW_MS / 1000.0)
        return;
    p->drawn = now;
    erase(p);
    uc_str_seconds(age, ev->elapsed);
    if (p->term.width > 70) {
        bar(p, graph, sizeof(graph), ev->n_actions ? (double)done / (double)ev->n_actions : 0);
        fprintf(stderr, " %s", graph);
    }
    snprintf(line, sizeof(line), " %zu/%zu  %s  cached %zu  ran %zu", done, ev->n_actions, age,
             ev->n_hit, ev->n_ran);
    row(p, line, "");
    draw_kinds(p);
    draw_running(p, now);
    fflush(stderr);
}

static void say(struct uc_progress *p, const struct uc_event *ev, const char *text)
{
    erase(p);
    fprintf(stderr, "%7.1fs  %s\n", ev->elapsed, text);
    p->spoke = ev->elapsed;
}

static void on_plan(struct uc_progress *p, const struct uc_event *ev)
{
    char line[200];

    if (p->planned)
        return;
    p->planned = true;
    snprintf(line, sizeof(line), "%zu actions, %zu cached", ev->n_actions, ev->n_hit);
    say(p, ev, line);
}

static void on_start(struct uc_progress *p, const struct uc_event *ev)
{
    struct running *r = &p->run[p->n_run++];

    memset(r, 0, sizeof(*r));
    r->action = ev->action;
    r->since = uc_now();
}

static void on_step(struct uc_progress *p, const struct uc_event *ev)
{
    for (size_t i = 0; i < p->n_run; i++) {
        if (p->run[i].action != ev->action)
            continue;
        p->run[i].done = ev->done;
        p->run[i].total = ev->total;
    }
}

static void drop_running(struct uc_progress *p, const struct uc_action *a)
{
    for (size_t i = 0; i < p->n_run; i++) {
        if (p->run[i].action != a)
            continue;
        memmove(&p->run[i], &p->run[i + 1], (p->n_run - i - 1) * sizeof(*p->run));
        p->n_run--;
        return;
    }
}

static void on_end(struct uc_progress *p, const struct uc_event *ev)
{
    struct kind *k = kind_of(p, ev->action->op);
    char line[2300], took[32];

    drop_running(p, ev->action);
    k->done++;
    k->ran += ev->outcome == UC_RAN;
    if (ev->peak_rss > p->peak)
        p->peak = ev->peak_rss;
    uc_str_seconds(took, ev->seconds);
    if (ev->outcome == UC_FAILED) {
        snprintf(line, sizeof(line), "FAILED %s", ev->text ? ev->text : ev->action->name);
        say(p, ev, line);
    } else if (ev->outcome == UC_RAN && (p->all || ev->seconds > SLOW_S)) {
        snprintf(line, sizeof(line), "%s  %s", ev->action->name, took);
        say(p, ev, line);
    }
    if (p->mode == PLAIN && k->done == k->total && k->ran && !k->said) {
        k->said = true;
        snprintf(line, sizeof(line), "%s %zu/%zu", k->op, k->done, k->total);
        say(p, ev, line);
    }
}

/* Another build in the same cache is ahead of this one: worth one line, not one for each action. */
static void on_wait(struct uc_progress *p, const struct uc_event *ev)
{
    char line[400];

    if (!p->all && !strcmp(p->waited_for, ev->text))
        return;
    snprintf(p->waited_for, sizeof(p->waited_for), "%s", ev->text);
    snprintf(line, sizeof(line), "%s: %s makes it now; waiting", ev->action->name, ev->text);
    say(p, ev, line);
}

/* After the first Ctrl-C, once. */
static void tell_stop(struct uc_progress *p, const struct uc_event *ev)
{
    if (p->said_stop || !*p->interrupts || ev->kind == UC_EV_DONE)
        return;
    p->said_stop = true;
    say(p, ev, "stopping when what runs has ended; Ctrl-C again stops it now");
}

static void heartbeat(struct uc_progress *p, const struct uc_event *ev)
{
    char line[300];

    if (ev->elapsed - p->spoke < BEAT_S || ev->kind == UC_EV_DONE)
        return;
    snprintf(line, sizeof(line), "%zu of %zu actions done, %zu running%s%s", ev->n_hit + ev->n_ran,
             ev->n_actions, ev->n_running, p->n_run ? ": " : "",
             p->n_run ? p->run[0].action->name : "");
    say(p, ev, line);
}

void uc_progress_event(void *arg, const struct uc_event *ev)
{
    struct uc_progress *p = arg;
    char line[1500];

    if (ev->kind == UC_EV_END && ev->peak_rss > p->peak)
        p->peak = ev->peak_rss;
    if (p->mode == OFF)
        return;
    tell_stop(p, ev);
    switch (ev->kind) {
    case UC_EV_PLAN:
        on_plan(p, ev);
        break;
    case UC_EV_START:
        on_start(p, ev);
        break;
    case UC_EV_PROGRESS:
        on_step(p, ev);
        break;
    case UC_EV_END:
        on_end(p, ev);
        break;
    case UC_EV_WAIT:
        on_wait(p, ev);
        break;
    case UC_EV_WARN:
        snprintf(line, sizeof(line), "warning: %s", ev->text);
        say(p, ev, line);
        break;
    default:
        break;
    }
    /* The first that starts is shown at once, or the view would stand empty for as long as it says
     * nothing. */
    if (p->mode == LIVE && ev->kind != UC_EV_DONE)
        draw(p, ev, ev->kind == UC_EV_PLAN || (ev->kind == UC_EV_START && p->n_run == 1));
    else if (p->mode == PLAIN)
        heartbeat(p, ev);
}
