/*
 * Runs a fuzz target without a fuzzer: on the seeds, then on mutations of them that are the same in
 * every run.   smoke-<target> SEEDS_DIR [ROUNDS]
 * ("smoke" for any compiler; with clang and -Dfuzz=true the same targets are libFuzzer programs.)
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fsio.h"
#include "base/log.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEDS_MAX = 256, INPUT_MAX = 1 << 16 };

static struct {
    uint8_t *p;
    size_t n;
} seeds[SEEDS_MAX];
static size_t n_seeds;

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_seed(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void load_seeds(const char *dir)
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, is_seed, by_name);

    for (int i = 0; i < n; i++) {
        char *path = uc_path_join(dir, list[i]->d_name), *p;
        size_t len;
        if (n_seeds < SEEDS_MAX - 1 && uc_read_file(path, INPUT_MAX, &p, &len, NULL) == 0) {
            seeds[n_seeds].p = (uint8_t *)p;
            seeds[n_seeds++].n = len;
        }
        free(path);
        free(list[i]);
    }
    free(list);
}

/* A seed that is always there: bytes without meaning. */
static void add_noise(void)
{
    seeds[n_seeds].p = uc_xmalloc(512);
    for (int i = 0; i < 512; i++)
        seeds[n_seeds].p[i] = (uint8_t)draw(256);
    seeds[n_seeds++].n = 512;
}

static size_t mutate_once(uint8_t *p, size_t n)
{
    static const uint64_t odd[] = {
        0, 1, 7, 8, 255, 256, 0x7fffffff, 0x80000000, 0xffffffff, (uint64_t)1 << 62, UINT64_MAX};
    size_t at = n ? draw(n) : 0, len = n ? draw(n - at < 16 ? n - at + 1 : 16) : 0;
    uint64_t v;

    switch (n ? draw(7) : 3) {
    case 0:
        p[at] ^= (uint8_t)(1u << draw(8));
        break;
    case 1:
        p[at] = (uint8_t)draw(256);
        break;
    case 2: /* leave some bytes out */
        memmove(p + at, p + at + len, n - at - len);
        return n - len;
    case 3: /* put some of another seed in */
        if (n + 16 < INPUT_MAX) {
            size_t s = draw(n_seeds), from, k;
            k = seeds[s].n < 16 ? seeds[s].n : 16;
            from = draw(seeds[s].n - k + 1);
            memmove(p + at + k, p + at, n - at);
            memcpy(p + at, seeds[s].p + from, k);
            return n + k;
        }
        break;
    case 4: /* a number at the edge of something */
        v = odd[draw(UC_COUNT(odd))];
        memcpy(p + at, &v, n - at < 8 ? n - at : 8);
        break;
    case 5: /* say something twice */
        if (n + len < INPUT_MAX) {
            memmove(p + at + len, p + at, n - at);
            return n + len;
        }
        break;
    default:
        return at; /* cut off */
    }
    return n;
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 4000, n_files;
    static uint8_t buf[INPUT_MAX + 64];

    uc_log_set_level(UC_LOG_QUIET);
    if (argc > 1)
        load_seeds(argv[1]);
    n_files = n_seeds;
    add_noise();
    for (size_t i = 0; i < n_seeds; i++)
        LLVMFuzzerTestOneInput(seeds[i].p, seeds[i].n);
    LLVMFuzzerTestOneInput(buf, 0);
    for (size_t i = 0; i < rounds; i++) {
        size_t s = draw(n_seeds), n = seeds[s].n, k = 1 + draw(4);
        memcpy(buf, seeds[s].p, n);
        while (k--)
            n = mutate_once(buf, n);
        /* in memory of its exact size, so that the sanitizer sees a read past the end */
        uint8_t *exact = uc_xmalloc(n ? n : 1);
        memcpy(exact, buf, n);
        LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }
    printf("%zu seeds, %zu mutations\n", n_files, rounds);
    for (size_t i = 0; i < n_seeds; i++)
        free(seeds[i].p);
    return 0;
}
