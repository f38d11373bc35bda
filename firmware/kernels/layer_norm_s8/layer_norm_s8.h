/* Layer normalisation of int8 over the last axis; tinyopt's own contract.
 *
 * input int8 [rows][depth], output int8 [rows][depth], depth <= 32768.
 *
 * For a row, with integers only:
 *   S = sum of x, V = depth * sum of x^2 - S^2 + epsilon (epsilon in these units, below 2^47), d = depth * x - S
 *   R = floor(sqrt(V * 2^16)), z = leading zeros of R, I = floor(2^62 / (R * 2^z))
 *   n = floor((d * I + 2^(41 - z)) / 2^(42 - z)): the normalised value with 12 fractional bits; 0 where V is 0
 *   output = clamp8(requantize(n * (gamma - gamma_zero_point) + beta, multiplier, shift) + output_zero_point)
 * beta is in units of gamma_scale / 4096, and the multiplier is gamma_scale / (4096 * output_scale).
 *
 * Pointers to int8 need no alignment. The output may be the memory of the input.
 */
#ifndef TINYOPT_LAYER_NORM_S8_H
#define TINYOPT_LAYER_NORM_S8_H

#include "common.h"
#include "fixed_point.h"

typedef struct {
  const int8_t *gamma; /* [depth] */
  const int32_t *beta; /* [depth] */
  int64_t epsilon;
  int32_t rows;
  int32_t depth;
  int32_t gamma_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
} tinyopt_layer_norm_s8;

/* Portable C. */
void tinyopt_layer_norm_s8_ref(const tinyopt_layer_norm_s8 *op, const int8_t *input, int8_t *output);

#endif
