/* Logarithm of the softmax over the last axis of an int8 tensor.
 *
 * input int8 [rows][depth], output int8 [rows][depth], depth < 4096.
 *
 * With d = input - largest input of the row, in Q5: l = d - log(sum of exp(d)), rounded to output_bits fractional bits;
 * where d < least_difference or d would leave Q5, l is -32. Then
 * output = clamp8(requantize(l, multiplier, shift) + output_zero_point). For an output scale of 1/16 and zero point
 * 127, output_bits is 4 and the requantization does nothing: this equals TensorFlow Lite Micro's LOG_SOFTMAX bit for
 * bit. For any other output, output_bits is 12.
 *
 * Pointers need no alignment. The output may be the memory of the input.
 */
#ifndef TINYOPT_LOG_SOFTMAX_S8_H
#define TINYOPT_LOG_SOFTMAX_S8_H

#include "common.h"
#include "fixed_point.h"

typedef struct {
  int32_t rows;
  int32_t depth;
  int32_t input_multiplier; /* from input steps to Q5 */
  int32_t input_shift;
  int32_t reverse_multiplier; /* from Q5 to input steps */
  int32_t reverse_shift;
  int32_t least_difference;
  int32_t output_bits;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
} tinyopt_log_softmax_s8;

/* Portable C. */
void tinyopt_log_softmax_s8_ref(const tinyopt_log_softmax_s8 *op, const int8_t *input, int8_t *output);

#endif
