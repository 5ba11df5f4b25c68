/* Block formats of ggml, as its reference code defines them. Products are rounded in the order that
 * the reference writes them: scale first, then the number. */
#include <string.h>

#include "formats/gguf.h"

static float half(const uint8_t *p)
{
    uint32_t h = (uint32_t)(p[0] | p[1] << 8), sign = (h & 0x8000) << 16, e = h >> 10 & 31;
    uint32_t m = h & 0x3ff, u;
    float f;

    if (e == 31) {
        u = sign | 0x7f800000 | m << 13;
    } else if (e) {
        u = sign | (e + 112) << 23 | m << 13;
    } else { /* a subnormal is m * 2^-24, exact in f32 */
        f = (float)m * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &u, 4);
    return f;
}

static void get_f32(const uint8_t *p, float *y)
{
    uint32_t u = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

    memcpy(y, &u, 4);
}

static void get_f16(const uint8_t *p, float *y)
{
    *y = half(p);
}

static void get_bf16(const uint8_t *p, float *y)
{
    uint32_t u = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 24;

    memcpy(y, &u, 4);
}

static void get_q4_0(const uint8_t *p, float *y)
{
    float d = half(p);

    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((p[2 + i] & 15) - 8);
        y[i + 16] = d * (float)((p[2 + i] >> 4) - 8);
    }
}

static void get_q4_1(const uint8_t *p, float *y)
{
    float d = half(p), m = half(p + 2);

    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(p[4 + i] & 15) + m;
        y[i + 16] = d * (float)(p[4 + i] >> 4) + m;
    }
}

/* The fifth bit of element i. */
static int fifth(const uint8_t *qh, int i)
{
    return (qh[i / 8] >> i % 8 & 1) << 4;
}

static void get_q5_0(const uint8_t *p, float *y)
{
    float d = half(p);

    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(((p[6 + i] & 15) | fifth(p + 2, i)) - 16);
        y[i + 16] = d * (float)(((p[6 + i] >> 4) | fifth(p + 2, i + 16)) - 16);
    }
}

static void get_q5_1(const uint8_t *p, float *y)
{
    float d = half(p), m = half(p + 2);

    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((p[8 + i] & 15) | fifth(p + 4, i)) + m;
        y[i + 16] = d * (float)((p[8 + i] >> 4) | fifth(p + 4, i + 16)) + m;
    }
}

static void get_q8_0(const uint8_t *p, float *y)
{
    float d = half(p);

    for (int i = 0; i < 32; i++)
        y[i] = d * (float)(int8_t)p[2 + i];
}

/* 16 scales and minima of 4 bits, 256 numbers of 2 bits, d, dmin. */
static void get_q2_k(const uint8_t *p, float *y)
{
    const uint8_t *qs = p + 16;
    float d = half(p + 80), dmin = half(p + 82);

    for (int i = 0; i < 256; i++) {
        int s = p[i / 16], q = qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        y[i] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
    }
}

/* 256 high bits, 256 numbers of 2 bits, 16 scales of 6 bits, d. */
static void get_q3_k(const uint8_t *p, float *y)
{
    const uint8_t *high = p, *qs = p + 32, *sc = p + 96;
    float d = half(p + 108);

    for (int i = 0; i < 256; i++) {
        int k = i / 16, low4 = k < 8 ? sc[k] & 15 : sc[k - 8] >> 4;
        int scale = (low4 | (sc[8 + k % 4] >> (k / 4 * 2) & 3) << 4) - 32;
        int q = qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        int set = high[i % 32] >> (i / 32) & 1;
        y[i] = d * (float)scale * (float)(q - (set ? 0 : 4));
    }
}

/* 8 scales and 8 minima of 6 bits in 12 bytes. */
static void scale_min(const uint8_t *s, int k, int *scale, int *min)
{
    if (k < 4) {
        *scale = s[k] & 63;
        *min = s[k + 4] & 63;
    } else {
        *scale = (s[k + 4] & 15) | s[k - 4] >> 6 << 4;
        *min = s[k + 4] >> 4 | s[k] >> 6 << 4;
    }
}

/* Q4_K, and with the fifth bits in high Q5_K. */
static void get_q45_k(const uint8_t *p, const uint8_t *high, const uint8_t *qs, float *y)
{
    float d = half(p), dmin = half(p + 2);

    for (int k = 0; k < 8; k++) {
        int scale, min;
        scale_min(p + 4, k, &scale, &min);
        float dl = d * (float)scale, ml = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int q = qs[k / 2 * 32 + i] >> (k % 2 * 4) & 15;
            if (high)
                q |= (high[i] >> k & 1) << 4;
            y[k * 32 + i] = dl * (float)q - ml;
        }
    }
}

static void get_q4_k(const uint8_t *p, float *y)
{
    get_q45_k(p, NULL, p + 16, y);
}

static void get_q5_k(const uint8_t *p, float *y)
{
    get_q45_k(p, p + 16, p + 48, y);
}

/* 256 low halves, 256 upper 2 bits, 16 signed scales, d. */
static void get_q6_k(const uint8_t *p, float *y)
{
    const uint8_t *ql = p, *qh = p + 128;
    const int8_t *sc = (const int8_t *)p + 192;
    float d = half(p + 208);

    for (int i = 0; i < 256; i++) {
        int h = i / 128, j = i % 128;
        int low = ql[h * 64 + j % 64] >> (j / 64 * 4) & 15;
        int up = qh[h * 32 + j % 32] >> (j / 32 * 2) & 3;
        y[i] = d * (float)sc[i / 16] * (float)((low | up << 4) - 32);
    }
}

typedef void block_fn(const uint8_t *p, float *y);

static block_fn *const functions[] = {
    [0] = get_f32,   [1] = get_f16,   [2] = get_q4_0,  [3] = get_q4_1,  [6] = get_q5_0,
    [7] = get_q5_1,  [8] = get_q8_0,  [10] = get_q2_k, [11] = get_q3_k, [12] = get_q4_k,
    [13] = get_q5_k, [14] = get_q6_k, [30] = get_bf16,
};

bool uc_gguf_can_dequantize(uint32_t type)
{
    return type < sizeof(functions) / sizeof(functions[0]) && functions[type];
}

void uc_gguf_dequantize(uint32_t type, const uint8_t *src, size_t n, float *dst)
{
    uint32_t n_elem, n_bytes;

    uc_gguf_type_block(type, &n_elem, &n_bytes);
    for (size_t i = 0; i < n; i += n_elem, src += n_bytes)
        functions[type](src, dst + i);
}
