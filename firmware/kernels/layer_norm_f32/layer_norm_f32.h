/* Layer normalisation of float32 over the last axis (Ba et al. 2016).
 *
 * input float32 [rows][depth], output float32 [rows][depth]; output = (input - mean) / sqrt(variance + epsilon) * gamma
 * + beta, the mean and the (biased) variance in two passes over the row. The output may be the memory of the input.
 */
#ifndef TINYOPT_LAYER_NORM_F32_H
#define TINYOPT_LAYER_NORM_F32_H

#include "common.h"

typedef struct {
  const float *gamma; /* [depth] */
  const float *beta;  /* [depth] */
  int32_t rows;
  int32_t depth;
  float epsilon;
} tinyopt_layer_norm_f32;

/* Portable C. */
void tinyopt_layer_norm_f32_ref(const tinyopt_layer_norm_f32 *op, const float *input, float *output);

#endif
