/*
 * The key of an action: the digest of everything that its bytes depend on, in one canonical
 * encoding (docs/cache.md). One walk over the fields feeds either a hash or a readable text, so
 * that what explains a key is what made it.
 */
#ifndef UC_ENGINE_KEY_H
#define UC_ENGINE_KEY_H

#include "engine/graph.h"

struct uc_key_fields {
    const struct uc_action *action;
    unsigned version;               /* of the op */
    const struct uc_digest *inputs; /* in the order of action->inputs */
    const struct uc_fident *ident;  /* of action->stat_path; NULL without one */
    const char *kernel_class;       /* "" for bit-exact kernels */
};

void uc_key_of(const struct uc_key_fields *f, struct uc_digest *out);
/* One line "field = value" each; caller frees. */
char *uc_key_text(const struct uc_key_fields *f);

/* What differs between two texts, for people: "params.bits: 3 -> 4 (and 2 more)"; NULL when
 * nothing does. Caller frees. */
char *uc_key_diff(const char *before, const char *after);

#endif
