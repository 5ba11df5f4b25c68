#include "engine/sched.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { NO_OUTPUT = UINT32_MAX };

/* One input of a used action that comes from another action. */
struct edge {
    uint32_t user, producer;
    uint32_t output; /* global index of the output whose bytes it asks for, or NO_OUTPUT */
};

struct node {
    enum uc_sched_state state;
    bool known;            /* the digests of its outputs are known */
    bool settled;          /* it gave back its claims on its inputs: it will not ask for them */
    bool queued;           /* stands in todo */
    bool in_heap;          /* stands in ready, perhaps no longer ready: then it is passed over */
    uint32_t digests_left; /* edges whose producer is not known */
    uint32_t blobs_left;   /* in NEED: edges whose producer has yet to run */
    uint32_t absent;       /* in HIT: outputs that are gone and may still be asked for */
    double priority;       /* seconds from its start to the end of the build */
};

struct uc_sched {
    const struct uc_graph *g;
    struct uc_sched_world world;
    struct node *nodes;
    size_t *first_in, *first_out; /* first_in[id]..first_in[id+1]: its edges in edges */
    struct edge *edges;
    size_t *first_use; /* first_use[id]..first_use[id+1]: edges that use it, in uses */
    uint32_t *uses;
    uint32_t *claims; /* by global output: users that may still ask for it, and goals */
    uint8_t *goal;    /* by global output */
    uint8_t *gone;    /* by global output: counted in the absent of its action */
    uint32_t *todo;   /* ring of actions to look at */
    size_t todo_head, todo_n;
    uint32_t *ready, *skip; /* heap of ready actions; those that did not fit in this round */
    size_t n_ready, n_blocked, n_running;
    int jobs, threads_used;
    int *threads_of;
    uint64_t memory, memory_used;
    bool keep_going, stopped;
};

static size_t output_index(const struct uc_action *a, const char *name)
{
    size_t i = 0;

    while (strcmp(a->outputs[i].name, name) != 0)
        i++;
    return i;
}

static bool has_edge(const struct uc_ref *r)
{
    return r->kind == UC_REF_OUTPUT || r->kind == UC_REF_TENSOR;
}

static void make_edges(struct uc_sched *s, const uint8_t *used)
{
    const struct uc_graph *g = s->g;
    size_t n = 0, n_out = 0;

    for (size_t i = 0; i < g->n_actions; i++) {
        s->first_out[i] = n_out;
        s->first_in[i] = n;
        n_out += g->actions[i].n_outputs;
        for (size_t k = 0; used[i] && k < g->actions[i].n_inputs; k++)
            n += has_edge(&g->actions[i].inputs[k].ref);
    }
    s->first_in[g->n_actions] = n;
    s->first_out[g->n_actions] = n_out;
    s->edges = uc_xcalloc(n + 1, sizeof(*s->edges));
    s->uses = uc_xcalloc(n + 1, sizeof(*s->uses));
    s->claims = uc_xcalloc(n_out + 1, sizeof(*s->claims));
    s->goal = uc_xcalloc(n_out + 1, 1);
    s->gone = uc_xcalloc(n_out + 1, 1);
    n = 0;
    for (size_t i = 0; i < g->n_actions; i++) {
        for (size_t k = 0; used[i] && k < g->actions[i].n_inputs; k++) {
            const struct uc_ref *r = &g->actions[i].inputs[k].ref;
            if (!has_edge(r))
                continue;
            struct edge *e = &s->edges[n++];
            *e = (struct edge){(uint32_t)i, r->action, NO_OUTPUT};
            if (r->kind == UC_REF_OUTPUT) {
                e->output = (uint32_t)(s->first_out[r->action] +
                                       output_index(&g->actions[r->action], r->output));
                s->claims[e->output]++;
            }
            s->first_use[r->action + 1]++;
        }
    }
    for (size_t i = 0; i < g->n_actions; i++)
        s->first_use[i + 1] += s->first_use[i];
    size_t *at = uc_xcalloc(g->n_actions + 1, sizeof(*at));
    for (size_t e = 0; e < n; e++) {
        uint32_t p = s->edges[e].producer;
        s->uses[s->first_use[p] + at[p]++] = (uint32_t)e;
    }
    free(at);
}

/* Users come after producers, so one pass from the end finds the longest path to the end. */
static void prioritize(struct uc_sched *s, const double *seconds)
{
    for (size_t i = s->g->n_actions; i-- > 0;) {
        double longest = 0;
        for (size_t u = s->first_use[i]; u < s->first_use[i + 1]; u++) {
            double p = s->nodes[s->edges[s->uses[u]].user].priority;
            longest = p > longest ? p : longest;
        }
        s->nodes[i].priority = longest + seconds[i];
    }
}

static void look_at(struct uc_sched *s, uint32_t id)
{
    if (s->nodes[id].queued)
        return;
    s->nodes[id].queued = true;
    s->todo[(s->todo_head + s->todo_n++) % s->g->n_actions] = id;
}

struct uc_sched *uc_sched_new(const struct uc_graph *g, const uint8_t *used, const double *seconds,
                              int jobs, uint64_t memory, bool keep_going,
                              const struct uc_sched_world *world)
{
    struct uc_sched *s = uc_xcalloc(1, sizeof(*s));
    size_t n = g->n_actions;

    s->g = g;
    s->world = *world;
    s->jobs = jobs;
    s->memory = memory;
    s->keep_going = keep_going;
    s->nodes = uc_xcalloc(n + 1, sizeof(*s->nodes));
    s->first_in = uc_xcalloc(n + 1, sizeof(*s->first_in));
    s->first_out = uc_xcalloc(n + 1, sizeof(*s->first_out));
    s->first_use = uc_xcalloc(n + 1, sizeof(*s->first_use));
    s->todo = uc_xcalloc(n + 1, sizeof(*s->todo));
    s->ready = uc_xcalloc(n + 1, sizeof(*s->ready));
    s->skip = uc_xcalloc(n + 1, sizeof(*s->skip));
    s->threads_of = uc_xcalloc(n + 1, sizeof(*s->threads_of));
    make_edges(s, used);
    prioritize(s, seconds);
    for (size_t i = 0; i < n; i++) {
        struct node *a = &s->nodes[i];
        if (!used[i])
            continue;
        a->state = UC_S_WAIT;
        a->digests_left = (uint32_t)(s->first_in[i + 1] - s->first_in[i]);
        if (!a->digests_left)
            look_at(s, (uint32_t)i);
    }
    return s;
}

void uc_sched_free(struct uc_sched *s)
{
    if (!s)
        return;
    free(s->nodes);
    free(s->first_in);
    free(s->first_out);
    free(s->first_use);
    free(s->edges);
    free(s->uses);
    free(s->claims);
    free(s->goal);
    free(s->gone);
    free(s->todo);
    free(s->ready);
    free(s->skip);
    free(s->threads_of);
    free(s);
}

void uc_sched_goal(struct uc_sched *s, uint32_t id, size_t output)
{
    size_t o = s->first_out[id] + output;

    s->claims[o] += !s->goal[o];
    s->goal[o] = 1;
}

/* Ready actions: a binary heap, best first. Ids break ties, so the order is always the same. */
static bool before(const struct uc_sched *s, uint32_t a, uint32_t b)
{
    double pa = s->nodes[a].priority, pb = s->nodes[b].priority;

    return pa != pb ? pa > pb : a < b;
}

static void push_ready(struct uc_sched *s, uint32_t id)
{
    size_t i = s->n_ready;

    if (s->nodes[id].in_heap)
        return;
    s->nodes[id].in_heap = true;
    s->n_ready++;
    for (; i && before(s, id, s->ready[(i - 1) / 2]); i = (i - 1) / 2)
        s->ready[i] = s->ready[(i - 1) / 2];
    s->ready[i] = id;
}

static uint32_t pop_ready(struct uc_sched *s)
{
    uint32_t top = s->ready[0], last = s->ready[--s->n_ready];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->n_ready)
            break;
        if (child + 1 < s->n_ready && before(s, s->ready[child + 1], s->ready[child]))
            child++;
        if (!before(s, s->ready[child], last))
            break;
        s->ready[i] = s->ready[child];
        i = child;
    }
    s->ready[i] = last;
    s->nodes[top].in_heap = false;
    return top;
}

static void drop_if_unclaimed(struct uc_sched *s, uint32_t id, size_t o)
{
    const struct uc_output *out = &s->g->actions[id].outputs[o - s->first_out[id]];

    if (out->retention == UC_TRANSIENT && s->claims[o] == 0 && s->nodes[id].known)
        s->world.drop(s->world.arg, id, o - s->first_out[id]);
}

/*
 * The action will not ask for its inputs any more. Producers that hit although outputs are gone
 * may follow, as nobody can make them run; a work list instead of recursion, as chains are long.
 */
static void settle(struct uc_sched *s, uint32_t id)
{
    size_t n = 0, cap = 16;
    uint32_t *list = uc_xmalloc(cap * sizeof(*list));

    if (!s->nodes[id].settled)
        list[n++] = id;
    s->nodes[id].settled = true;
    while (n) {
        uint32_t a = list[--n];
        for (size_t e = s->first_in[a]; e < s->first_in[a + 1]; e++) {
            uint32_t p = s->edges[e].producer, o = s->edges[e].output;
            struct node *prod = &s->nodes[p];
            if (o == NO_OUTPUT || --s->claims[o])
                continue;
            drop_if_unclaimed(s, p, o);
            if (prod->state != UC_S_HIT || !s->gone[o])
                continue;
            s->gone[o] = 0;
            if (--prod->absent || prod->settled)
                continue;
            prod->settled = true;
            if (n == cap)
                list = uc_xrealloc(list, (cap *= 2) * sizeof(*list));
            list[n++] = p;
        }
    }
    free(list);
}

/* It cannot run, nor can what needs it. */
static void skip(struct uc_sched *s, uint32_t id);

/* The action must run: it claims its inputs, and its users that wait for bytes wait for it too. */
static void need(struct uc_sched *s, uint32_t id)
{
    struct node *a = &s->nodes[id];
    bool had_ended = a->state == UC_S_HIT || a->state == UC_S_RAN, hopeless = false;

    a->state = UC_S_NEED;
    a->blobs_left = 0;
    for (size_t e = s->first_in[id]; e < s->first_in[id + 1]; e++) {
        const struct edge *in = &s->edges[e];
        enum uc_sched_state p = s->nodes[in->producer].state;
        if (in->output == NO_OUTPUT)
            continue;
        if (a->settled)
            s->claims[in->output]++;
        a->blobs_left += p != UC_S_HIT && p != UC_S_RAN;
        hopeless = hopeless || p == UC_S_FAILED || p == UC_S_SKIPPED;
    }
    a->settled = false;
    for (size_t u = s->first_use[id]; had_ended && u < s->first_use[id + 1]; u++) {
        const struct edge *use = &s->edges[s->uses[u]];
        struct node *user = &s->nodes[use->user];
        if (use->output == NO_OUTPUT)
            continue;
        if (user->state == UC_S_READY || user->state == UC_S_BLOCKED) {
            s->n_blocked -= user->state == UC_S_BLOCKED;
            user->state = UC_S_NEED;
            user->blobs_left = 0;
        }
        if (user->state == UC_S_NEED)
            user->blobs_left++;
    }
    if (hopeless)
        skip(s, id);
    else
        look_at(s, id);
}

/* It has ended, so that those who wait for its bytes may go on. */
static void release_users(struct uc_sched *s, uint32_t id)
{
    for (size_t u = s->first_use[id]; u < s->first_use[id + 1]; u++) {
        const struct edge *use = &s->edges[s->uses[u]];
        struct node *user = &s->nodes[use->user];
        if (user->state == UC_S_NEED && use->output != NO_OUTPUT && --user->blobs_left == 0)
            look_at(s, use->user);
    }
}

static void announce(struct uc_sched *s, uint32_t id)
{
    s->nodes[id].known = true;
    for (size_t u = s->first_use[id]; u < s->first_use[id + 1]; u++) {
        uint32_t user = s->edges[s->uses[u]].user;
        if (--s->nodes[user].digests_left == 0 && s->nodes[user].state == UC_S_WAIT)
            look_at(s, user);
    }
}

/* All that cannot run without this action, which failed or was skipped, is skipped. */
static void skip_users(struct uc_sched *s, uint32_t id)
{
    size_t n = 0, cap = 16;
    uint32_t *list = uc_xmalloc(cap * sizeof(*list));

    list[n++] = id;
    while (n) {
        uint32_t a = list[--n];
        for (size_t u = s->first_use[a]; u < s->first_use[a + 1]; u++) {
            const struct edge *use = &s->edges[s->uses[u]];
            struct node *user = &s->nodes[use->user];
            bool no_key = user->state == UC_S_WAIT && !s->nodes[a].known;
            bool no_bytes = user->state == UC_S_NEED && use->output != NO_OUTPUT;
            if (!no_key && !no_bytes)
                continue;
            user->state = UC_S_SKIPPED;
            s->world.skipped(s->world.arg, use->user);
            settle(s, use->user);
            if (n == cap)
                list = uc_xrealloc(list, (cap *= 2) * sizeof(*list));
            list[n++] = use->user;
        }
    }
    free(list);
}

static void skip(struct uc_sched *s, uint32_t id)
{
    s->nodes[id].state = UC_S_SKIPPED;
    s->world.skipped(s->world.arg, id);
    settle(s, id);
    skip_users(s, id);
}

static void fail(struct uc_sched *s, uint32_t id)
{
    s->nodes[id].state = UC_S_FAILED;
    settle(s, id);
    skip_users(s, id);
    if (!s->keep_going)
        s->stopped = true;
}

/* A stored result: fine as it is unless a goal is gone; it stays unsettled as long as somebody may
 * ask for an output that is gone. */
static void hit(struct uc_sched *s, uint32_t id)
{
    struct node *a = &s->nodes[id];
    bool wanted = false;

    a->state = UC_S_HIT;
    a->absent = 0;
    for (size_t o = s->first_out[id]; o < s->first_out[id + 1]; o++) {
        s->gone[o] = 0;
        if (s->world.present(s->world.arg, id, o - s->first_out[id]))
            continue;
        wanted = wanted || s->goal[o];
        s->gone[o] = s->claims[o] > 0;
        a->absent += s->gone[o];
    }
    if (a->known) /* looked up again, as its inputs changed */
        release_users(s, id);
    else
        announce(s, id);
    if (wanted)
        need(s, id);
    else if (!a->absent)
        settle(s, id);
    for (size_t o = s->first_out[id]; o < s->first_out[id + 1]; o++)
        drop_if_unclaimed(s, id, o);
}

static void look_up(struct uc_sched *s, uint32_t id)
{
    int rc = s->world.lookup(s->world.arg, id);

    if (rc < 0)
        fail(s, id);
    else if (rc == 1)
        hit(s, id);
    else
        need(s, id);
}

/* All producers have ended: what they left may still be gone, then they run again. */
static void ask_for_inputs(struct uc_sched *s, uint32_t id)
{
    for (size_t e = s->first_in[id]; e < s->first_in[id + 1]; e++) {
        const struct edge *in = &s->edges[e];
        enum uc_sched_state p = s->nodes[in->producer].state;
        if (in->output != NO_OUTPUT && (p == UC_S_HIT || p == UC_S_RAN) &&
            !s->world.present(s->world.arg, in->producer, in->output - s->first_out[in->producer]))
            need(s, in->producer);
    }
    if (s->nodes[id].state != UC_S_NEED || s->nodes[id].blobs_left)
        return;
    s->nodes[id].state = UC_S_READY;
    push_ready(s, id);
}

void uc_sched_resolve(struct uc_sched *s)
{
    while (s->todo_n) {
        uint32_t id = s->todo[s->todo_head];
        struct node *a = &s->nodes[id];
        s->todo_head = (s->todo_head + 1) % s->g->n_actions;
        s->todo_n--;
        a->queued = false;
        if (a->state == UC_S_WAIT && a->digests_left == 0)
            look_up(s, id);
        else if (a->state == UC_S_NEED && a->blobs_left == 0)
            ask_for_inputs(s, id);
    }
}

static bool start_one(struct uc_sched *s, uint32_t id, size_t n_ready)
{
    const struct uc_action *a = &s->g->actions[id];
    struct node *node = &s->nodes[id];
    int free_threads = s->jobs - s->threads_used, threads, rc;

    if (s->n_running && s->memory_used + a->memory > s->memory)
        return false;
    threads = n_ready > 1 ? free_threads / (int)(n_ready < 65536 ? n_ready : 65536) : free_threads;
    threads = threads < 1 ? 1 : threads > a->threads ? a->threads : threads;
    rc = s->world.start(s->world.arg, id, threads);
    if (rc == UC_STARTED) {
        node->state = UC_S_RUNNING;
        s->threads_of[id] = threads;
        s->threads_used += threads;
        s->memory_used += a->memory;
        s->n_running++;
    } else if (rc == UC_BUSY) {
        node->state = UC_S_BLOCKED;
        s->n_blocked++;
    } else {
        node->state = UC_S_RUNNING;
        s->threads_of[id] = 0;
        s->n_running++;
        s->memory_used += a->memory;
        uc_sched_done(s, id, rc == UC_ADOPT, false);
    }
    return true;
}

void uc_sched_start(struct uc_sched *s)
{
    size_t n_skip = 0;

    uc_sched_resolve(s);
    while (!s->stopped && s->n_ready && s->threads_used < s->jobs) {
        size_t n = s->n_ready;
        uint32_t id = pop_ready(s);
        if (s->nodes[id].state != UC_S_READY)
            continue;
        if (!start_one(s, id, n))
            s->skip[n_skip++] = id;
        if (s->todo_n)
            uc_sched_resolve(s);
    }
    while (n_skip)
        push_ready(s, s->skip[--n_skip]);
}

static void leave_running(struct uc_sched *s, uint32_t id)
{
    s->n_running--;
    s->threads_used -= s->threads_of[id];
    s->memory_used -= s->g->actions[id].memory;
}

void uc_sched_done(struct uc_sched *s, uint32_t id, bool ok, bool changed)
{
    struct node *a = &s->nodes[id];

    leave_running(s, id);
    if (!ok) {
        fail(s, id);
        return;
    }
    a->state = UC_S_RAN;
    release_users(s, id);
    for (size_t u = s->first_use[id]; changed && u < s->first_use[id + 1]; u++) {
        uint32_t user = s->edges[s->uses[u]].user;
        if (s->nodes[user].state != UC_S_NEED)
            continue;
        s->nodes[user].state = UC_S_WAIT; /* its key is another now */
        look_at(s, user);
    }
    if (!a->known)
        announce(s, id);
    settle(s, id);
    for (size_t o = s->first_out[id]; o < s->first_out[id + 1]; o++)
        drop_if_unclaimed(s, id, o);
}

void uc_sched_again(struct uc_sched *s, uint32_t id)
{
    leave_running(s, id);
    need(s, id);
}

void uc_sched_lost(struct uc_sched *s, uint32_t id)
{
    enum uc_sched_state state = s->nodes[id].state;

    if (state == UC_S_HIT || state == UC_S_RAN)
        need(s, id);
}

void uc_sched_retry(struct uc_sched *s)
{
    for (size_t i = 0; s->n_blocked && i < s->g->n_actions; i++)
        if (s->nodes[i].state == UC_S_BLOCKED) {
            s->nodes[i].state = UC_S_READY;
            s->n_blocked--;
            push_ready(s, (uint32_t)i);
        }
}

void uc_sched_stop(struct uc_sched *s)
{
    s->stopped = true;
}

bool uc_sched_finished(const struct uc_sched *s)
{
    if (s->n_running)
        return false;
    return s->stopped || (!s->todo_n && !s->n_ready && !s->n_blocked);
}

enum uc_sched_state uc_sched_state(const struct uc_sched *s, uint32_t id)
{
    return s->nodes[id].state;
}

size_t uc_sched_running(const struct uc_sched *s)
{
    return s->n_running;
}

size_t uc_sched_blocked(const struct uc_sched *s)
{
    return s->n_blocked;
}
