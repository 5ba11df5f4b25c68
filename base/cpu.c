#include "base/cpu.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static unsigned long long xgetbv0(void)
{
    unsigned lo, hi;

    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (unsigned long long)hi << 32 | lo;
}

static unsigned detect(void)
{
    unsigned a, b, c, d, flags = 0, ecx1;
    unsigned long long xcr0;

    if (!__get_cpuid(1, &a, &b, &ecx1, &d))
        return 0;
    if (!(ecx1 & bit_OSXSAVE) || !(ecx1 & bit_FMA) || !(ecx1 & bit_F16C))
        return 0;
    xcr0 = xgetbv0();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (xcr0 & 6) != 6)
        return 0;
    if (b & bit_AVX2)
        flags |= UC_CPU_AVX2;
    if ((flags & UC_CPU_AVX2) && (xcr0 & 0xe6) == 0xe6 && (b & bit_AVX512F) && (b & bit_AVX512BW) &&
        (b & bit_AVX512DQ) && (b & bit_AVX512VL))
        flags |= UC_CPU_AVX512;
    return flags;
}
#else
static unsigned detect(void)
{
    return 0;
}
#endif

unsigned uc_cpu_flags_raw(void)
{
    static _Atomic unsigned known; /* flags + 1; cpuid may trap to a hypervisor, so it runs once */
    unsigned f = atomic_load_explicit(&known, memory_order_relaxed);

    if (!f) {
        f = detect() + 1;
        atomic_store_explicit(&known, f, memory_order_relaxed);
    }
    return f - 1;
}

static _Atomic unsigned mask_set; /* 1: mask is valid */
static _Atomic unsigned mask_value;

static unsigned mask_from_env(void)
{
    const char *s = getenv("UC_CPU");

    if (!s || !*s || strcmp(s, "auto") == 0)
        return ~0u;
    if (strcmp(s, "c") == 0)
        return 0;
    if (strcmp(s, "avx2") == 0)
        return UC_CPU_AVX2;
    return ~0u;
}

void uc_cpu_set_mask(unsigned mask)
{
    atomic_store(&mask_value, mask);
    atomic_store(&mask_set, 1);
}

unsigned uc_cpu_flags(void)
{
    if (!atomic_load(&mask_set))
        uc_cpu_set_mask(mask_from_env());
    return uc_cpu_flags_raw() & atomic_load(&mask_value);
}

const char *uc_cpu_name(unsigned flags)
{
    return flags & UC_CPU_AVX512 ? "avx512" : flags & UC_CPU_AVX2 ? "avx2" : "c";
}

int uc_cpu_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}
