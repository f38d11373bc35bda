/* Gates of float32 recurrent layers. */
#ifndef TINYOPT_GATES_F32_H
#define TINYOPT_GATES_F32_H

#include <math.h>

#include "common.h"

static inline float tinyopt_logistic_f32(float x) {
  return 1.0f / (1.0f + expf(-x));
}

/* start + sum(a[i] * b[i]). */
static inline float tinyopt_dot_f32(float start, const float *a, const float *b, int32_t count) {
  float sum = start;
  for (int32_t i = 0; i < count; i++) {
    sum += a[i] * b[i];
  }
  return sum;
}

#endif
