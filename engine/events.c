#include "engine/events.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

const char *uc_why_word(enum uc_why why)
{
    static const char *const words[] = {"",        "never built", "changed",
                                        "evicted", "corrupt",     "forced"};

    return words[why];
}

const char *uc_outcome_word(enum uc_outcome outcome)
{
    static const char *const words[] = {"unresolved", "hit", "ran", "adopted", "failed", "skipped"};

    return words[outcome];
}

void uc_events_open(struct uc_events *e, struct uc_cache *cache, const char *build_id,
                    const struct uc_build_opts *opts)
{
    char *path = uc_xasprintf("%s/builds/%s.ndjson", uc_cache_dir(cache), build_id);

    e->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    e->began = uc_now();
    e->event = opts->event;
    e->arg = opts->arg;
    free(path);
}

void uc_events_close(struct uc_events *e)
{
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
}

static void set_string(json_t *o, const char *name, const char *s)
{
    if (s && *s)
        json_object_set_new(o, name, json_string(s));
}

static void set_number(json_t *o, const char *name, double v)
{
    if (v > 0)
        json_object_set_new(o, name, json_real(v));
}

static void set_count(json_t *o, const char *name, uint64_t v)
{
    if (v)
        json_object_set_new(o, name, json_integer((json_int_t)v));
}

static json_t *event_json(const struct uc_event *ev)
{
    static const char *const kinds[] = {"plan", "start", "progress", "wait",
                                        "end",  "warn",  "target",   "done"};
    json_t *o = json_object();

    json_object_set_new(o, "ev", json_string(kinds[ev->kind]));
    json_object_set_new(o, "t", json_real(ev->elapsed));
    if (ev->action) {
        set_string(o, "action", ev->action->name);
        set_string(o, "op", ev->action->op);
    }
    if (ev->target) {
        set_string(o, "target", ev->target->name);
        set_string(o, "dir", ev->target->dir);
        json_object_set_new(o, "changed", json_boolean(ev->changed));
    }
    if (ev->kind == UC_EV_END)
        set_string(o, "outcome", uc_outcome_word(ev->outcome));
    set_string(o, "why", uc_why_word(ev->why));
    set_string(o, "detail", ev->detail);
    set_string(o, "text", ev->text);
    set_string(o, "log", ev->log);
    set_string(o, "unit", ev->unit);
    set_count(o, "threads", (uint64_t)ev->threads);
    set_count(o, "done", ev->done);
    set_count(o, "total", ev->total);
    set_count(o, "peak_rss", ev->peak_rss);
    set_number(o, "predicted", ev->predicted);
    set_number(o, "seconds", ev->seconds);
    set_number(o, "cpu", ev->cpu);
    if (ev->kind == UC_EV_PLAN || ev->kind == UC_EV_DONE) {
        json_object_set_new(o, "actions", json_integer((json_int_t)ev->n_actions));
        json_object_set_new(o, "hit", json_integer((json_int_t)ev->n_hit));
        json_object_set_new(o, "ran", json_integer((json_int_t)ev->n_ran));
        json_object_set_new(o, "failed", json_integer((json_int_t)ev->n_failed));
        json_object_set_new(o, "skipped", json_integer((json_int_t)ev->n_skipped));
        set_number(o, "work_left", ev->work_left);
    }
    return o;
}

void uc_events_emit(struct uc_events *e, struct uc_event *ev)
{
    ev->elapsed = uc_now() - e->began;
    if (e->event)
        e->event(e->arg, ev);
    if (e->fd < 0)
        return;
    json_t *o = event_json(ev);
    char *text = uc_json_canonical(o);
    size_t n = strlen(text);
    text[n] = '\n';
    if (uc_write_all(e->fd, text, n + 1, "events", NULL) < 0)
        uc_events_close(e);
    free(text);
    json_decref(o);
}
