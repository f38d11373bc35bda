/* Weights in IEEE half precision (binary16), widened to float32 as they are used. */
#ifndef TINYOPT_HALF_H
#define TINYOPT_HALF_H

#include "common.h"

/* Every floating-point unit of an M-profile core converts half precision, which __ARM_FP does not tell of those for
 * single precision alone. */
#if defined(__ARM_FP) && defined(__GNUC__) && (__ARM_FP & 2 || (__ARM_FP & 4 && __ARM_ARCH_PROFILE == 'M'))
#define TINYOPT_WIDENS_HALVES 1
#else
#define TINYOPT_WIDENS_HALVES 0
#endif

/* A finite binary16 as float32, exactly, also where float32 has no subnormal numbers. */
static inline float tinyopt_widen(uint16_t half) {
  float value;
#if TINYOPT_WIDENS_HALVES
  uint32_t bits = half;
  memcpy(&value, &bits, sizeof value);
  __asm__("vcvtb.f32.f16 %0, %0" : "+t"(value));
  return value;
#else
  uint32_t magnitude = half & 0x7FFFu;
  uint32_t bits;
  if (magnitude >= 0x400u) { /* exponent and fraction take the places of float32, whose exponent is 112 larger */
    bits = (magnitude << 13) + (112u << 23);
  } else { /* zero, or subnormal: a whole number of 2^-24, which float32 holds as a normal number */
    value = (float)(int32_t)magnitude * 5.9604644775390625e-8f;
    memcpy(&bits, &value, sizeof bits);
  }
  bits |= (uint32_t)(half & 0x8000u) << 16;
  memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

/* `count` values. */
static inline void tinyopt_widen_all(const uint16_t *from, int32_t count, float *to) {
  for (int32_t i = 0; i < count; ++i) {
    to[i] = tinyopt_widen(from[i]);
  }
}

#endif
