/* Fully connected layer of floats with weights in half precision. */
#include "half_fully_connected_f32.h"

void tinyopt_half_fully_connected_f32_ref(const tinyopt_half_fully_connected_f32 *op, const float *input,
                                          float *output) {
  const tinyopt_fully_connected_f32 *dense = &op->dense;
  for (int32_t row = 0; row < dense->rows; ++row) {
    const uint16_t *weights = op->weights;
    for (int32_t o = 0; o < dense->output_size; ++o) {
      float sum = dense->bias ? dense->bias[o] : 0.0f;
      for (int32_t i = 0; i < dense->input_size; ++i) {
        sum += input[i] * tinyopt_widen(*weights++);
      }
      *output++ = tinyopt_clamp_f32(sum, dense->clamp_low, dense->clamp_high);
    }
    input += dense->input_size;
  }
}
