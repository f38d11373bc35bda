/* Rounding floats to int8 with a range that is taken from them (docs/contract/dynamic.md).
 *
 * symmetric: range = the largest magnitude, scale = range / 127, zero_point = 0, integers from -127 to 127. Else, with
 * low = min(0, smallest value) and high = max(0, largest value): scale = (high - low) / 255, zero_point is -128 -
 * low / scale or 127 - high / scale, the one of the smaller error, rounded and inside int8; integers from -128 to 127.
 *
 * integer = clamp(round(value * inverse + zero_point)), where inverse is 127 / range or 1 / scale, the product is
 * rounded to float32, the sum is exact, and halves round away from zero. All of this is float32 arithmetic whose result
 * does not depend on whether a compiler contracts multiplications and additions. A range below 2^-90 counts as zero:
 * all integers are 0, scale = 1. Where a value is NaN or infinite, or high - low is, all integers are 0 and scale is
 * NaN.
 */
#ifndef TINYOPT_DYNAMIC_H
#define TINYOPT_DYNAMIC_H

#include "common.h"

typedef struct {
  float scale;
  int32_t zero_point;
} tinyopt_range;

/* input float [size], size > 0; output int8 [size]. They must not overlap. */
tinyopt_range tinyopt_quantize_range(const float *input, int32_t size, bool symmetric, int8_t *output);

#endif
