#include "unary_f32.h"

void tinyopt_signum_f32_ref(const tinyopt_unary_f32 *op, const float *input, float *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = (float)((input[i] > 0.0f) - (input[i] < 0.0f));
  }
}
