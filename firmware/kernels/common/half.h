/* Weights in IEEE half precision (binary16), widened to float32 as they are used. */
#ifndef TINYOPT_HALF_H
#define TINYOPT_HALF_H

#include "common.h"

/* A finite binary16 as float32, exactly. */
static inline float tinyopt_widen(uint16_t half) {
  float value;
#if defined(__ARM_FP) && (__ARM_FP & 2) && defined(__GNUC__)
  uint32_t bits = half;
  memcpy(&value, &bits, sizeof value);
  __asm__("vcvtb.f32.f16 %0, %0" : "+t"(value));
  return value;
#else
  /* Exponent and fraction in the places of float32 are a value with an exponent that is 112 too small. */
  uint32_t bits = ((uint32_t)half & 0x7FFFu) << 13;
  memcpy(&value, &bits, sizeof value);
  value *= 5.192296858534828e33f; /* 2^112 */
  return (half & 0x8000u) ? -value : value;
#endif
}

/* `count` values. */
static inline void tinyopt_widen_all(const uint16_t *from, int32_t count, float *to) {
  for (int32_t i = 0; i < count; ++i) {
    to[i] = tinyopt_widen(from[i]);
  }
}

#endif
