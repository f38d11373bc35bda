#include "unary_f32.h"

#include <math.h>

void tinyopt_gelu_tanh_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    float x = input[i];
    output[i] = 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
  }
}
