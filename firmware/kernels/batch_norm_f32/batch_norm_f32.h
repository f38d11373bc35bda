/* Batch normalisation of float32 with constant statistics.
 *
 * input float32 [rows][channels], output float32 [rows][channels]; output = input * scale[c] + offset[c], where at plan
 * time scale = gamma / sqrt(variance + epsilon) and offset = beta - mean * scale. The output may be the memory of the
 * input.
 */
#ifndef TINYOPT_BATCH_NORM_F32_H
#define TINYOPT_BATCH_NORM_F32_H

#include "common.h"

typedef struct {
  const float *scale;  /* [channels] */
  const float *offset; /* [channels] */
  int32_t rows;
  int32_t channels;
} tinyopt_batch_norm_f32;

/* Portable C. */
void tinyopt_batch_norm_f32_ref(const tinyopt_batch_norm_f32 *op, const float *input, float *output);

#endif
