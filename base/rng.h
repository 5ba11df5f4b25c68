/*
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). The value depends only on (seed, stream, index): no state, so any thread may
 * ask for any index.
 */
#ifndef UC_BASE_RNG_H
#define UC_BASE_RNG_H

#include <stdint.h>

/* Four 32-bit words for counter (index, stream) and key seed. */
void uc_philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);
/* Uniform in [0, 1): 24 bits, exact in fp32. */
float uc_rng_uniform(uint64_t seed, uint64_t stream, uint64_t index);

#endif
