/* Fully connected layer of int16 activations in portable C: one dot product per output. */
#include "fully_connected_s16.h"

void tinyopt_fully_connected_s16_ref(const tinyopt_fully_connected_s16 *op, const int16_t *input, int16_t *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    const int8_t *weights = op->weights;
    for (int32_t o = 0; o < op->output_size; ++o) {
      int64_t sum = op->bias ? op->bias[o] : 0;
      for (int32_t i = 0; i < op->input_size; ++i) {
        sum += input[i] * weights[i];
      }
      int32_t m = o * op->per_channel;
      output[o] =
          tinyopt_requantize_s16(sum, op->multipliers[m], op->shifts[m], op->wide_sums, op->clamp_low, op->clamp_high);
      weights += op->input_size;
    }
    input += op->input_size;
    output += op->output_size;
  }
}
