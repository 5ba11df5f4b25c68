/*
 * Leases: locks on open descriptors. They end with the process that holds them, so there are no
 * clocks, no heartbeats and nothing to unlock by hand.
 */
#ifndef UC_CACHE_LEASE_H
#define UC_CACHE_LEASE_H

#include "cache/cache.h"

/* The right to run the action with one key. */
struct uc_lease {
    int fd;
    char *path;
};

/* 1: ours, release it. 0: somebody else's, whom holder (cap bytes) names as far as known.
 * me: one line that names this build to the others. */
int uc_lease_try(struct uc_cache *c, const struct uc_digest *key, const char *me,
                 struct uc_lease *out, char *holder, size_t cap, struct uc_err *err);
void uc_lease_release(struct uc_lease *l);

/*
 * Presence: every build holds a shared lock while it lives. Only who is alone may delete what
 * another build could be about to read.
 */
struct uc_presence {
    int fd;
};
int uc_presence_enter(struct uc_cache *c, struct uc_presence *p, struct uc_err *err);
/* true: no other build lives, and none can enter until uc_presence_share. */
bool uc_presence_alone(struct uc_presence *p);
void uc_presence_share(struct uc_presence *p);
void uc_presence_leave(struct uc_presence *p);

#endif
