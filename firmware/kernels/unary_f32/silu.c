#include "unary_f32.h"

#include <math.h>

void tinyopt_silu_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    float x = input[i];
    output[i] = x / (1.0f + expf(-x));
  }
}
