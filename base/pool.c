#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct member {
    struct uc_pool *pool;
    pthread_t id;
    int thread;
};

struct uc_pool {
    int n_threads, n_started;
    struct member *members;
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    unsigned long job; /* number of the current job; members wait for it to change */
    int busy, stop;
    uc_pool_fn *fn;
    void *arg;
    size_t n;
    _Atomic size_t next;
};

static void drain(struct uc_pool *p, int thread)
{
    for (;;) {
        size_t i = atomic_fetch_add(&p->next, 1);
        if (i >= p->n)
            return;
        p->fn(p->arg, i, thread);
    }
}

static void *member_main(void *arg)
{
    struct member *m = arg;
    struct uc_pool *p = m->pool;
    unsigned long seen = 0;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stop && p->job == seen)
            pthread_cond_wait(&p->wake, &p->lock);
        if (p->stop)
            break;
        seen = p->job;
        pthread_mutex_unlock(&p->lock);
        drain(p, m->thread);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct uc_pool *uc_pool_new(int n_threads, struct uc_err *err)
{
    struct uc_pool *p = uc_xcalloc(1, sizeof(*p));

    p->n_threads = n_threads < 1 ? 1 : n_threads;
    p->members = uc_xcalloc((size_t)p->n_threads, sizeof(*p->members));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->idle, NULL);
    for (int i = 1; i < p->n_threads; i++) {
        struct member *m = &p->members[i];
        m->pool = p;
        m->thread = i;
        int rc = pthread_create(&m->id, NULL, member_main, m);
        if (rc) {
            uc_fail(err, UC_ERESOURCE, "cannot start thread %d of %d: %s", i, n_threads,
                    strerror(rc));
            uc_pool_free(p);
            return NULL;
        }
        p->n_started++;
    }
    return p;
}

void uc_pool_free(struct uc_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = 1;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 1; i <= p->n_started; i++)
        pthread_join(p->members[i].id, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->idle);
    free(p->members);
    free(p);
}

int uc_pool_threads(const struct uc_pool *p)
{
    return p ? p->n_threads : 1;
}

void uc_pool_run(struct uc_pool *p, size_t n, uc_pool_fn *fn, void *arg)
{
    if (!p || p->n_started == 0 || n < 2) {
        for (size_t i = 0; i < n; i++)
            fn(arg, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->arg = arg;
    p->n = n;
    atomic_store(&p->next, 0);
    p->busy = p->n_started;
    p->job++;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    drain(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->busy)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
