/* Maximum or minimum over any axes of an int8 tensor.
 *
 * input int8, output int8 of the input's shape without the reduced axes (or with 1 in their place).
 *
 * The extreme integer; where input and output differ in quantization (rescale), requantized:
 * clamp8(requantize(extreme - input_zero_point, multiplier, shift) + output_zero_point). With one quantization, this
 * equals TensorFlow Lite Micro's REDUCE_MAX and REDUCE_MIN. Pointers need no alignment. Input and output must not
 * overlap.
 */
#ifndef TINYOPT_REDUCE_MINMAX_S8_H
#define TINYOPT_REDUCE_MINMAX_S8_H

#include "common.h"
#include "reduction.h"

typedef struct {
  tinyopt_reduction shape;
  int32_t maximum; /* 1: the largest; 0: the smallest */
  int32_t rescale; /* 0: nothing below is read */
  int32_t input_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
} tinyopt_reduce_minmax_s8;

/* Portable C. */
void tinyopt_reduce_minmax_s8_ref(const tinyopt_reduce_minmax_s8 *op, const int8_t *input, int8_t *output);

#endif
