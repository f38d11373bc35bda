/* Fully connected layer of int16 activations with the Arm DSP extension. */
#include "fully_connected_s16.h"
#include "products_s16.h"

void tinyopt_fully_connected_s16_dsp(const tinyopt_fully_connected_s16 *op, const int16_t *input, int16_t *output) {
  const tinyopt_products_s16 products = {op->weights,   op->bias,       op->multipliers, op->shifts,    op->per_channel,
                                         op->wide_sums, op->input_size, op->output_size, op->clamp_low, op->clamp_high};
  for (int32_t row = 0; row < op->rows; ++row) {
    tinyopt_products_s16_of_patch(&products, input, output);
    input += op->input_size;
    output += op->output_size;
  }
}
