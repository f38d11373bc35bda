/* Softmax over the last axis of a float32 tensor.
 *
 * input float32 [rows][depth], output float32 [rows][depth]: exp(beta * (input - largest)) over their sum. The output
 * may be the memory of the input.
 */
#ifndef TINYOPT_SOFTMAX_F32_H
#define TINYOPT_SOFTMAX_F32_H

#include "common.h"

typedef struct {
  int32_t rows;
  int32_t depth;
  float beta;
} tinyopt_softmax_f32;

/* Portable C. */
void tinyopt_softmax_f32_ref(const tinyopt_softmax_f32 *op, const float *input, float *output);

#endif
