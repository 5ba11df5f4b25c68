/*
 * The inner kernel that gemm_body.h and moments_body.h share: TILE_M rows by up to TILE_P panels of
 * 16 outputs, every output one chain over t. Included by bodies only, after a vec_<isa>.h.
 */
#ifndef UC_KERNELS_VEC_TILE_H
#define UC_KERNELS_VEC_TILE_H

#if defined(UC_ISA_avx512)
enum { TILE_M = 14, TILE_P = 2 }; /* 28 sums, 2 panels, 1 broadcast: 31 of 32 registers */
#elif defined(UC_ISA_avx2)
enum { TILE_M = 6, TILE_P = 1 }; /* 12 sums, 2 halves of a panel, 1 broadcast: 15 of 16 */
#else
enum { TILE_M = 6, TILE_P = 1 };
#endif

/*
 * acc[r][p] = fma(a[r * a_row + t * a_step], b[p * b_panel + t * 16 ..], acc[r][p]), t =
 * 0..steps-1. rows, panels, a_row and a_step are constants at every call: the sums then live in
 * registers.
 */
V_FN void tile_fma(v16 (*restrict acc)[TILE_P], const float *restrict a, size_t a_row,
                   size_t a_step, const float *restrict b, size_t b_panel, size_t steps,
                   const int rows, const int panels)
{
    for (size_t t = 0; t < steps; t++) {
        v16 w[TILE_P];
        V_UNROLL
        for (int p = 0; p < panels; p++)
            w[p] = v16_load(b + (size_t)p * b_panel + t * 16);
        V_UNROLL
        for (int r = 0; r < rows; r++) {
            v16 x = v16_set1(a[(size_t)r * a_row + t * a_step]);
            V_UNROLL
            for (int p = 0; p < panels; p++)
                acc[r][p] = v16_fma(x, w[p], acc[r][p]);
        }
    }
}

#endif
