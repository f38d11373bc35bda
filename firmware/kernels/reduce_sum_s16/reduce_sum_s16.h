/* Sum or mean over any axes of an int16 tensor.
 *
 * input int16, output int16 of the input's shape without the reduced axes (or with 1 in their place).
 *
 * output = clamp16(requantize(sum - sum_zero_point, multiplier, shift) + output_zero_point), where sum_zero_point is
 * the input's zero point times the number of summed elements. The multiplier is input_scale / output_scale, for a mean
 * divided by that number. This equals TensorFlow Lite Micro's SUM and MEAN bit for bit. At most 2^15 elements make one
 * output. Pointers are aligned to two bytes. Input and output must not overlap.
 */
#ifndef TINYOPT_REDUCE_SUM_S16_H
#define TINYOPT_REDUCE_SUM_S16_H

#include "common.h"
#include "reduction.h"

typedef struct {
  tinyopt_reduction shape;
  int32_t sum_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
} tinyopt_reduce_sum_s16;

/* Portable C. */
void tinyopt_reduce_sum_s16_ref(const tinyopt_reduce_sum_s16 *op, const int16_t *input, int16_t *output);

#endif
