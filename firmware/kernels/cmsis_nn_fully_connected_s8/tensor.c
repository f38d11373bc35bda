#include "cmsis_nn_fully_connected_s8.h"

void tinyopt_fully_connected_s8_cmsis_nn(const tinyopt_cmsis_nn_fully_connected_s8 *op, const int8_t *input,
                                         int8_t *output) {
  /* The buffer of this function is read only: it holds the sums of the weights. */
  const cmsis_nn_context context = {.buf = (void *)op->sums, .size = op->sums ? 4 * op->output.c : 0};
  const cmsis_nn_per_tensor_quant_params scale = {.multiplier = op->multipliers[0], .shift = op->shifts[0]};
  (void)arm_fully_connected_s8(&context, &op->params, &scale, &op->input, input, &op->filter, op->weights, &op->bias,
                               op->bias_data, &op->output, output);
}
