/* Fixed-point functions that several kernels share: exponential, reciprocal and what they are made of.
 *
 * A value in Qm has m integer bits and 31 - m fractional bits. Each function gives the same bits as TensorFlow Lite
 * Micro's (the polynomial and Newton-Raphson steps of gemmlowp's fixed-point library).
 */
#ifndef TINYOPT_FIXED_POINT_H
#define TINYOPT_FIXED_POINT_H

#include "common.h"

/* a * b in fixed point: the integer bits add. Not both may be INT32_MIN. */
#if defined(__ARM_ARCH_6M__)
int32_t tinyopt_fixed_multiply(int32_t a, int32_t b); /* too long without a long multiply to be everywhere */
#else
static inline int32_t tinyopt_fixed_multiply(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}
#endif

/* tinyopt_requantize, for where code is dearer than the call. */
int32_t tinyopt_requantize_called(int32_t value, int32_t multiplier, int shift);

/* Leading zero bits; 32 for 0. */
static inline int tinyopt_leading_zeros(uint32_t value) {
#if defined(__GNUC__)
  return value ? __builtin_clz(value) : 32;
#else
  int count = 0;
  for (uint32_t bit = 1u << 31; bit && !(value & bit); bit >>= 1) {
    ++count;
  }
  return count;
#endif
}

/* value << exponent, the nearest limit of int32 where that does not fit. */
static inline int32_t tinyopt_saturating_shift_left(int32_t value, int exponent) {
  int32_t threshold = (int32_t)((1u << (31 - exponent)) - 1u);
  if (value > threshold) {
    return INT32_MAX;
  }
  return value < -threshold ? INT32_MIN : (int32_t)((uint32_t)value << exponent);
}

/* exp(a) in Q0 for a <= 0 in Q5. */
int32_t tinyopt_exp_on_negative_values(int32_t a);

/* 1 / (1 + a) in Q0 for a in [0, 1] in Q0. */
int32_t tinyopt_one_over_one_plus_x(int32_t a);

/* 1 / x for x > 0 with integer_bits: the significand in [1/2, 1] in Q0; *bits gets the bits of x above one. */
static inline int32_t tinyopt_reciprocal(int32_t x, int integer_bits, int *bits) {
  int zeros = tinyopt_leading_zeros((uint32_t)x);
  *bits = integer_bits - zeros;
  return tinyopt_one_over_one_plus_x((int32_t)(((uint32_t)x << zeros) - (1u << 31)));
}

#endif
