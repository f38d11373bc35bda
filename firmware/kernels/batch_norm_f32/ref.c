#include "batch_norm_f32.h"

void tinyopt_batch_norm_f32_ref(const tinyopt_batch_norm_f32 *op, const float *input, float *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    for (int32_t c = 0; c < op->channels; ++c) {
      output[c] = input[c] * op->scale[c] + op->offset[c];
    }
    input += op->channels;
    output += op->channels;
  }
}
