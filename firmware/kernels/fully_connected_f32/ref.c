/* Fully connected layer of floats in portable C: one dot product per output. */
#include "fully_connected_f32.h"

void tinyopt_fully_connected_f32_ref(const tinyopt_fully_connected_f32 *op, const float *input, float *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    const float *weights = op->weights;
    for (int32_t o = 0; o < op->output_size; ++o) {
      float sum = op->bias ? op->bias[o] : 0.0f;
      for (int32_t i = 0; i < op->input_size; ++i) {
        sum += input[i] * weights[i];
      }
      output[o] = tinyopt_clamp_f32(sum, op->clamp_low, op->clamp_high);
      weights += op->input_size;
    }
    input += op->input_size;
    output += op->output_size;
  }
}
