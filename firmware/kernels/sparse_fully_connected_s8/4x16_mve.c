/* Fully connected layer with Helium, sixteen inputs of four outputs at a time. */
#include "sparse_fully_connected_s8.h"
#include "sparse_mve.h"

void tinyopt_sparse_fully_connected_s8_4x16_mve(const tinyopt_fully_connected_s8 *op, const int8_t *input,
                                                int8_t *output) {
  tinyopt_sparse_limits limits = {op->output_zero_point, op->clamp_low, op->clamp_high};
  for (int32_t row = 0; row < op->rows; ++row, input += op->input_size) {
    tinyopt_sparse_mve_outputs(&limits, input, op->weights, op->output_size, output);
    output += op->output_size;
  }
}
