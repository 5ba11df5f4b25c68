/*
 * A small pipeline of fake ops shaped like a compression: a checkpoint of LAYERS four-byte tensors,
 * fingerprint -> capture[layer] (x goes on, transient; s is kept in the cache) -> quantize[layer]
 * -> assemble -> a target folder. What each op writes is a text that names all that went into it,
 * so expected bytes can be computed without the engine.
 */
#ifndef UC_TESTS_ENGINE_FIXTURE_H
#define UC_TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/build.h"
#include "engine/op.h"

enum { LAYERS = 4, N_ACTIONS = 1 + LAYERS + LAYERS + 1 };

struct fixture {
    char dir[64]; /* temporary folder, removed at the end */
    char cache_dir[96], source[96], text[96], out[96];
    /* the recipe */
    int bits;         /* parameter of quantize */
    const char *note; /* parameter of assemble */
    int ms;           /* how long each action takes at least */
    const char *bad;  /* name of the action that misbehaves, and how: see op_make */
    const char *how;
    bool no_target_dir;
    /* options of the next build */
    struct uc_build_opts opts;
    unsigned cache_flags;
    /* the last build */
    struct uc_build_result res;
    struct uc_err err;
    char ran[2000]; /* names of the actions that ran, in the order of the graph: " a b c" */
    char warned[4000];
    char log[200];
    char waited[400];
};

extern unsigned fixture_quantize_version;

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Adds the recipe to an empty graph. */
void fixture_graph(struct fixture *f, struct uc_graph *g);
/* Builds the only target; fills the last part of the fixture. */
int fixture_build(struct fixture *f);
/* Writes the checkpoint: LAYERS tensors whose content is their letter four times. */
void fixture_write_source(const struct fixture *f, const char *letters);
void fixture_write(const char *path, const char *text);
/* Content of <out>/<name>, borrowed until the next call; NULL when it is not there. */
const char *fixture_read_out(const struct fixture *f, const char *name);
/* What model.bin must hold for these letters. */
const char *fixture_expected(const struct fixture *f, const char *letters);
/* Calls fn for each blob of the cache; returns how many there are. */
size_t fixture_each_blob(const struct fixture *f, void (*fn)(const char *path, size_t i, void *arg),
                         void *arg);
/* Waits for something that must happen soon; false when it does not. */
bool fixture_wait_until(bool (*done)(void *arg), void *arg);

#endif
