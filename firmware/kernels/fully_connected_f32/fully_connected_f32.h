/* Fully connected layer, float32.
 *
 * input float [rows][input_size], output float [rows][output_size]:
 * output[r][o] = clamp(bias[o] + sum over i of weights[o][i] * input[r][i]). Sums are float32 in the order of i; other
 * kernels and the float executor may differ by rounding.
 *
 * Input and output must not overlap. No scratch.
 */
#ifndef TINYOPT_FULLY_CONNECTED_F32_H
#define TINYOPT_FULLY_CONNECTED_F32_H

#include "common.h"

typedef struct {
  const float *weights; /* [output_size][input_size] */
  const float *bias;    /* [output_size], or NULL */
  int32_t rows;
  int32_t input_size;
  int32_t output_size;
  float clamp_low;
  float clamp_high;
} tinyopt_fully_connected_f32;

void tinyopt_fully_connected_f32_ref(const tinyopt_fully_connected_f32 *op, const float *input, float *output);

#endif
