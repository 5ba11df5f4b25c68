/*
 * The events of a build: each goes to the caller and, as one line of JSON in one write, to
 * builds/<id>.ndjson in the cache folder. The file is for people and tools; a build does not fail
 * because it cannot be written.
 */
#ifndef UC_ENGINE_EVENTS_H
#define UC_ENGINE_EVENTS_H

#include "engine/build.h"

struct uc_events {
    int fd;
    double began;
    void (*event)(void *arg, const struct uc_event *ev);
    void *arg;
};

void uc_events_open(struct uc_events *e, struct uc_cache *cache, const char *build_id,
                    const struct uc_build_opts *opts);
void uc_events_close(struct uc_events *e);
/* Sets ev->elapsed. */
void uc_events_emit(struct uc_events *e, struct uc_event *ev);

#endif
