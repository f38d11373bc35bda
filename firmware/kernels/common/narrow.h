/* Requantization of sums that are known to be small, for cores on which the general form is dear.
 *
 * The packing proves, for every possible input, that |sum| < 2^23, and that the shift is at least one to the right. */
#ifndef TINYOPT_NARROW_H
#define TINYOPT_NARROW_H

#include "common.h"

typedef struct {
  int32_t multiplier;
  int32_t right;  /* the shift to the right less one */
  int32_t offset; /* 2 * (output zero point - low) + 1 */
  int32_t low;    /* the clamp */
  uint32_t range; /* from low to high */
} tinyopt_narrow;

/* What the channels of a layer share; multiplier and right are set for each. */
static inline tinyopt_narrow tinyopt_narrow_to(int32_t zero_point, int32_t low, int32_t high) {
  return (tinyopt_narrow){.offset = 2 * (zero_point - low) + 1, .low = low, .range = (uint32_t)(high - low)};
}

/* sum * multiplier / 2^31, rounded to nearest, ties up. |sum| < 2^23 */
static inline int32_t tinyopt_narrow_multiply(int32_t sum, int32_t multiplier) {
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
  /* No long multiply: a byte of the multiplier at a time, from below; what is shifted out cannot carry again. */
  uint32_t m = (uint32_t)multiplier;
  int32_t value = sum * (int32_t)(m & 255u);
  value = (value >> 8) + sum * (int32_t)((m >> 8) & 255u);
  value = (value >> 8) + sum * (int32_t)((m >> 16) & 255u);
  value = (value >> 8) + sum * (int32_t)(m >> 24);
  return (value + 64) >> 7;
#else
  int64_t product = (int64_t)(2 * sum) * multiplier;
  return (int32_t)(product >> 32) + (int32_t)((uint32_t)(uint64_t)product >> 31);
#endif
}

/* The rounding shift with ties away from zero, on twice the value; then offset and clamp. */
static inline int8_t tinyopt_narrow_s8(const tinyopt_narrow *scale, int32_t sum) {
  int32_t value = tinyopt_narrow_multiply(sum, scale->multiplier);
  value = (((value + (value >> 31)) >> scale->right) + scale->offset) >> 1; /* above low */
  if ((uint32_t)value > scale->range) {                                     /* rare, so one test serves both ends */
    value = value < 0 ? 0 : (int32_t)scale->range;
  }
  return (int8_t)(value + scale->low);
}

/* `count` outputs, at least one, `step` bytes apart, of as many sums. */
void tinyopt_narrow_line(const tinyopt_narrow *scale, const int32_t *sums, int8_t *output, int32_t step, int32_t count);

#endif
