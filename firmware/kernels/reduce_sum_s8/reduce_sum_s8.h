/* Sum or mean over any axes of an int8 tensor.
 *
 * input int8, output int8 of the input's shape without the reduced axes (or with 1 in their place).
 *
 * output = clamp8(requantize(sum - sum_zero_point, multiplier, shift) + output_zero_point), where sum_zero_point is the
 * input's zero point times the number of summed elements. The multiplier is input_scale / output_scale, for a mean
 * divided by that number. This equals TensorFlow Lite Micro's SUM and MEAN bit for bit. At most 2^23 elements make one
 * output. Pointers need no alignment. Input and output must not overlap.
 */
#ifndef TINYOPT_REDUCE_SUM_S8_H
#define TINYOPT_REDUCE_SUM_S8_H

#include "common.h"
#include "reduction.h"

typedef struct {
  tinyopt_reduction shape;
  int32_t sum_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
} tinyopt_reduce_sum_s8;

/* Portable C. */
void tinyopt_reduce_sum_s8_ref(const tinyopt_reduce_sum_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension: the last of the kept axes has at least four elements, one after the other in the input. */
void tinyopt_reduce_sum_s8_dsp(const tinyopt_reduce_sum_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE): the last of the kept axes has its elements one after the other in the input. */
void tinyopt_reduce_sum_s8_mve(const tinyopt_reduce_sum_s8 *op, const int8_t *input, int8_t *output);

#endif
