/* Fully connected layer, int16 activations and int8 weights.
 *
 * input int16 [rows][input_size], output int16 [rows][output_size]:
 * output[r][o] = clamp(requantize(sum, multipliers[o], shifts[o])), where sum = bias[o] + sum over i of
 * weights[o][i] * input[r][i]. With one weight scale for the whole layer, its product with the input scale is rounded
 * to float32 before the multiplier is made.
 * sum is exact in 64 bits. With wide_sums it is requantized with a multiplier of 15 bits; else it is taken modulo 2^32
 * and requantized as for int8. Zero points are 0. This equals TensorFlow Lite Micro's reference kernel bit for bit
 * (wide_sums: a 64-bit bias or none; else a 32-bit bias).
 *
 * Pointers need the alignment of their element type. Input and output must not overlap.
 */
#ifndef TINYOPT_FULLY_CONNECTED_S16_H
#define TINYOPT_FULLY_CONNECTED_S16_H

#include "common.h"

typedef struct {
  const int8_t *weights;      /* ref: [output_size][input_size] */
  const int64_t *bias;        /* [output_size], or NULL */
  const int32_t *multipliers; /* [output_size], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers; at most 7 with wide_sums */
  int32_t per_channel;        /* 1: a multiplier for every output; 0: one for all */
  int32_t wide_sums;
  int32_t rows;
  int32_t input_size;
  int32_t output_size;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_fully_connected_s16;

/* Portable C. */
void tinyopt_fully_connected_s16_ref(const tinyopt_fully_connected_s16 *op, const int16_t *input, int16_t *output);

/* Arm DSP extension. weights: as in products_s16.h; the magnitudes of an output's weights sum to less than 2^16. */
void tinyopt_fully_connected_s16_dsp(const tinyopt_fully_connected_s16 *op, const int16_t *input, int16_t *output);

#endif
