#include "unary_f32.h"

#include <math.h>

void tinyopt_hard_sigmoid_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    float x = input[i];
    output[i] = fminf(fmaxf(x * (1.0f / 6.0f) + 0.5f, 0.0f), 1.0f);
  }
}
