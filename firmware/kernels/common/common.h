/* Shared by all kernels: fixed-point requantization and small helpers.
 *
 * Numerical contract (TensorFlow Lite Micro, double rounding): a real multiplier is a Q31 significand and a power of
 * two. The product is a saturating rounding doubling high multiply, followed by a rounding shift right with ties away
 * from zero. Every kernel, on every core, gives the same bits.
 */
#ifndef TINYOPT_COMMON_H
#define TINYOPT_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where the compiler's choice costs: a body that is specialised by constant arguments, or that needs all registers. */
#if defined(__GNUC__)
#define TINYOPT_ALWAYS_INLINE inline __attribute__((always_inline))
#define TINYOPT_NEVER_INLINE __attribute__((noinline))
#else
#define TINYOPT_ALWAYS_INLINE inline
#define TINYOPT_NEVER_INLINE
#endif

static inline int32_t tinyopt_min(int32_t a, int32_t b) {
  return a < b ? a : b;
}

static inline int32_t tinyopt_max(int32_t a, int32_t b) {
  return a > b ? a : b;
}

static inline int32_t tinyopt_clamp(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : (value > high ? high : value);
}

static inline float tinyopt_clamp_f32(float value, float low, float high) {
  return value < low ? low : (value > high ? high : value);
}

/* value * multiplier / 2^31, rounded to nearest, ties up. multiplier >= 0, so nothing overflows. */
static inline int32_t tinyopt_doubling_high_multiply(int32_t value, int32_t multiplier) {
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
  /* These cores have no long multiply; the 64-bit product is put together from 16-bit halves. */
  int32_t value_high = value >> 16;
  uint32_t value_low = (uint32_t)value & 0xFFFFu;
  int32_t high = multiplier >> 16;
  uint32_t low = (uint32_t)multiplier & 0xFFFFu;
  uint32_t low_product = value_low * low;
  uint32_t middle = value_low * (uint32_t)high + (low_product >> 16);
  int32_t cross = value_high * (int32_t)low + (int32_t)(middle & 0xFFFFu);
  uint32_t product_high = (uint32_t)(value_high * high + (int32_t)(middle >> 16) + (cross >> 16));
  uint32_t product_low = ((uint32_t)cross << 16) | (low_product & 0xFFFFu);
  uint32_t rounded = product_low + 0x40000000u;
  product_high += rounded < product_low ? 1u : 0u;
  return (int32_t)((product_high << 1) | (rounded >> 31));
#else
  return (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << 30)) >> 31);
#endif
}

/* value / 2^exponent, 0 <= exponent <= 31, ties away from zero. */
static inline int32_t tinyopt_rounding_shift_right(int32_t value, int exponent) {
  int32_t mask = (int32_t)((1u << exponent) - 1u);
  int32_t remainder = value & mask;
  int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
  return (value >> exponent) + (remainder > threshold ? 1 : 0);
}

/* value * multiplier * 2^(shift - 31); shift > 0 is to the left. The left shift wraps modulo 2^32. */
static inline int32_t tinyopt_requantize(int32_t value, int32_t multiplier, int shift) {
  int left = shift > 0 ? shift : 0;
  int right = shift > 0 ? 0 : -shift;
  int32_t shifted = (int32_t)((uint32_t)value << left);
  return tinyopt_rounding_shift_right(tinyopt_doubling_high_multiply(shifted, multiplier), right);
}

/* The low 32 bits of sum + a * b. Sums wrap modulo 2^32, so their order and offsets folded into the bias change no
 * bit, even where a sum leaves the 32-bit range on its way. */
static inline int32_t tinyopt_mac(int32_t sum, int32_t a, int32_t b) {
  return (int32_t)((uint32_t)sum + (uint32_t)(a * b));
}

/* A 32-bit sum as an int8 output: requantize, add the output's zero point (modulo 2^32), clamp to low..high. */
static inline int8_t tinyopt_requantize_s8(int32_t sum, int32_t multiplier, int shift, int32_t zero_point, int32_t low,
                                           int32_t high) {
  uint32_t value = (uint32_t)tinyopt_requantize(sum, multiplier, shift) + (uint32_t)zero_point;
  return (int8_t)tinyopt_clamp((int32_t)value, low, high);
}

/* A 64-bit sum (|sum| < 2^47) times multiplier * 2^(shift - 31), shift <= 7, with the multiplier rounded to 15 bits
 * first: the rule for int16 activations with a 64-bit bias. The result wraps to 32 bits. */
static inline int32_t tinyopt_requantize_wide(int64_t sum, int32_t multiplier, int shift) {
  int32_t reduced = multiplier < 0x7FFF0000 ? (multiplier + (1 << 15)) >> 16 : 0x7FFF;
  int total = 15 - shift;
  int64_t rounding = (int64_t)1 << (total - 1);
  return (int32_t)(uint32_t)(uint64_t)((sum * reduced + rounding) >> total);
}

/* A sum as an int16 output. wide: the rule for 64-bit sums; else the sum is taken modulo 2^32 and requantized as for
 * int8. */
static inline int16_t tinyopt_requantize_s16(int64_t sum, int32_t multiplier, int shift, bool wide, int32_t low,
                                             int32_t high) {
  int32_t value = wide ? tinyopt_requantize_wide(sum, multiplier, shift)
                       : tinyopt_requantize((int32_t)(uint32_t)(uint64_t)sum, multiplier, shift);
  return (int16_t)tinyopt_clamp(value, low, high);
}

#ifdef __cplusplus
}
#endif

#endif
