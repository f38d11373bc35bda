/* What the Helium (MVE) kernels share: copies of runs of bytes, and requantization of four sums at a time.
 *
 * On a core without the extension a kernel's file holds the same computation in plain C, so that it can be built,
 * checked and debugged anywhere.
 */
#ifndef TINYOPT_MVE_H
#define TINYOPT_MVE_H

#include "common.h"

/* Without optimisation GCC finds too few registers for the loops in assembly, and plain C is as fast. */
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1) && defined(__OPTIMIZE__)
#include <arm_mve.h>
#define TINYOPT_HAS_MVE 1
#else
#define TINYOPT_HAS_MVE 0
#endif

/* Copy `count` >= 0 bytes. */
static inline void tinyopt_mve_copy(int8_t *to, const int8_t *from, int32_t count) {
#if TINYOPT_HAS_MVE
  __asm__ volatile("wlstp.8 lr, %[count], 2f\n"
                   "1:\n"
                   "vldrb.u8 q0, [%[from]], #16\n"
                   "vstrb.8 q0, [%[to]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [to] "+r"(to), [from] "+r"(from)
                   : [count] "r"(count)
                   : "lr", "q0", "memory");
#else
  memcpy(to, from, (size_t)count);
#endif
}

/* Set `count` >= 0 bytes. */
static inline void tinyopt_mve_fill(int8_t *to, int32_t value, int32_t count) {
#if TINYOPT_HAS_MVE
  __asm__ volatile("vdup.8 q0, %[value]\n"
                   "wlstp.8 lr, %[count], 2f\n"
                   "1:\n"
                   "vstrb.8 q0, [%[to]], #16\n"
                   "letp lr, 1b\n"
                   "2:\n"
                   : [to] "+r"(to)
                   : [count] "r"(count), [value] "r"(value)
                   : "lr", "q0", "memory");
#else
  memset(to, value, (size_t)count);
#endif
}

#if TINYOPT_HAS_MVE
/* Four sums times multiplier * 2^(shift - 31), every shift at most -1. VQRDMULH is the rounding doubling high multiply;
 * VRSHL rounds ties up, so negative values are lowered by one first, which makes it ties away from zero. */
static inline int32x4_t tinyopt_mve_requantize(int32x4_t sums, int32x4_t multipliers, int32x4_t shifts) {
  int32x4_t high = vqrdmulhq_s32(sums, multipliers);
  return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), shifts);
}

/* The same for one multiplier and any shift; to the left it wraps. */
static inline int32x4_t tinyopt_mve_requantize_any(int32x4_t sums, int32_t multiplier, int32_t shift) {
  if (shift < 0) {
    return tinyopt_mve_requantize(sums, vdupq_n_s32(multiplier), vdupq_n_s32(shift));
  }
  return vqrdmulhq_n_s32(vshlq_r_s32(sums, shift), multiplier);
}

/* Four values as outputs: add the zero point, clamp. */
static inline int32x4_t tinyopt_mve_output(int32x4_t values, int32_t zero_point, int32x4_t low, int32x4_t high) {
  return vminq_s32(vmaxq_s32(vaddq_n_s32(values, zero_point), low), high);
}
#endif

#endif
