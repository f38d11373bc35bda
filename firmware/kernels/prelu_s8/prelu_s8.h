/* Parametric rectifier on int8: x where x >= 0, else alpha * x, with a constant alpha that broadcasts to x.
 *
 * input int8, output int8 of the same shape.
 *
 * With v = input - input_zero_point: output = clamp8(requantize(v, positive) + output_zero_point) for v >= 0, else
 * clamp8(requantize(v * (alpha - alpha_zero_point), negative) + output_zero_point). This equals TensorFlow Lite
 * Micro's PRELU bit for bit. Pointers need no alignment; the output may be the memory of the input.
 */
#ifndef TINYOPT_PRELU_S8_H
#define TINYOPT_PRELU_S8_H

#include "broadcast.h"
#include "common.h"

typedef struct {
  const int8_t *alpha;
  tinyopt_broadcast broadcast; /* a: the input; b: alpha */
  int32_t input_zero_point;
  int32_t alpha_zero_point;
  int32_t positive_multiplier; /* input_scale / output_scale */
  int32_t positive_shift;
  int32_t negative_multiplier; /* input_scale * alpha_scale / output_scale */
  int32_t negative_shift;
  int32_t output_zero_point;
} tinyopt_prelu_s8;

/* Portable C. */
void tinyopt_prelu_s8_ref(const tinyopt_prelu_s8 *op, const int8_t *input, int8_t *output);

#endif
