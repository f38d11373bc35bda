/* x where x >= 0, else alpha * x, on int16.
 *
 * input int16 [size], output int16 [size]. With v = input - input_zero_point: output = clamp16(requantize(v, positive)
 * + output_zero_point) for v >= 0, else clamp16(negative_sign * requantize(v, negative) + output_zero_point). This
 * equals TensorFlow Lite Micro's LEAKY_RELU bit for bit. Pointers are aligned to two bytes; the output may be the
 * memory of the input.
 */
#ifndef TINYOPT_LEAKY_RELU_S16_H
#define TINYOPT_LEAKY_RELU_S16_H

#include "common.h"

typedef struct {
  int32_t size;
  int32_t input_zero_point;
  int32_t positive_multiplier; /* input_scale / output_scale */
  int32_t positive_shift;
  int32_t negative_multiplier; /* the same times |alpha| */
  int32_t negative_shift;
  int32_t negative_sign; /* the sign of alpha: 1 or -1 */
  int32_t output_zero_point;
} tinyopt_leaky_relu_s16;

/* Portable C. */
void tinyopt_leaky_relu_s16_ref(const tinyopt_leaky_relu_s16 *op, const int16_t *input, int16_t *output);

#endif
