/* Logarithm of the softmax over the last axis of a float32 tensor.
 *
 * input float32 [rows][depth], output float32 [rows][depth]: input - largest - log(sum of exp(input - largest)). The
 * output may be the memory of the input.
 */
#ifndef TINYOPT_LOG_SOFTMAX_F32_H
#define TINYOPT_LOG_SOFTMAX_F32_H

#include "common.h"

typedef struct {
  int32_t rows;
  int32_t depth;
} tinyopt_log_softmax_f32;

/* Portable C. */
void tinyopt_log_softmax_f32_ref(const tinyopt_log_softmax_f32 *op, const float *input, float *output);

#endif
