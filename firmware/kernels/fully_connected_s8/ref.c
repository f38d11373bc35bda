/* Fully connected layer in portable C: one dot product per output. */
#include "fully_connected_s8.h"

void tinyopt_fully_connected_s8_ref(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    const int8_t *weights = op->weights;
    for (int32_t o = 0; o < op->output_size; ++o) {
      int32_t sum = op->bias[o];
      for (int32_t i = 0; i < op->input_size; ++i) {
        sum = tinyopt_mac(sum, input[i], weights[i]);
      }
      int32_t m = o * op->per_channel;
      output[o] = tinyopt_requantize_s8(sum, op->multipliers[m], op->shifts[m], op->output_zero_point, op->clamp_low,
                                        op->clamp_high);
      weights += op->input_size;
    }
    input += op->input_size;
    output += op->output_size;
  }
}
