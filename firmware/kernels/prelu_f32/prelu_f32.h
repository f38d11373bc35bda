/* Parametric rectifier on float32: x where x >= 0, else alpha * x, with a constant alpha that broadcasts to x.
 *
 * input float32, output float32 of the same shape. The output may be the memory of the input.
 */
#ifndef TINYOPT_PRELU_F32_H
#define TINYOPT_PRELU_F32_H

#include "broadcast.h"
#include "common.h"

typedef struct {
  const float *alpha;
  tinyopt_broadcast broadcast; /* a: the input; b: alpha */
} tinyopt_prelu_f32;

/* Portable C. */
void tinyopt_prelu_f32_ref(const tinyopt_prelu_f32 *op, const float *input, float *output);

#endif
