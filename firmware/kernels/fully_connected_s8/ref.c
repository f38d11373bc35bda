/* Fully connected layer in portable C: two outputs at a time, so that each activation is loaded once for both. */
#include "fully_connected_s8.h"
#include "dot.h"

static int8_t finish(const tinyopt_fully_connected_s8 *op, int32_t sum, int32_t output) {
  int32_t i = output * op->per_channel;
  return tinyopt_requantize_s8(sum, op->multipliers[i], op->shifts[i], op->output_zero_point, op->clamp_low,
                               op->clamp_high);
}

void tinyopt_fully_connected_s8_ref(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output) {
  int32_t size = op->input_size;
  for (int32_t row = 0; row < op->rows; ++row) {
    const int8_t *weights = op->weights;
    int32_t o = 0;
    for (; o + 1 < op->output_size; o += 2) {
      int32_t sums[2] = {op->bias[o], op->bias[o + 1]};
      tinyopt_dot_pair_s8(sums, input, weights, weights + size, size);
      output[o] = finish(op, sums[0], o);
      output[o + 1] = finish(op, sums[1], o + 1);
      weights += 2 * size;
    }
    if (o < op->output_size) {
      output[o] = finish(op, tinyopt_dot_s8(op->bias[o], input, weights, size), o);
    }
    input += size;
    output += op->output_size;
  }
}
