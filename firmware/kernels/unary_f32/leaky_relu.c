#include "unary_f32.h"

void tinyopt_leaky_relu_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    float x = input[i];
    output[i] = x >= 0.0f ? x : op->alpha * x;
  }
}
