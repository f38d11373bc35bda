#include "cmsis_nn_fully_connected_s8.h"

void tinyopt_fully_connected_channels_s8_cmsis_nn(const tinyopt_cmsis_nn_fully_connected_s8 *op, const int8_t *input,
                                                  int8_t *output) {
  /* CMSIS-NN reads through these pointers, although their types do not say so. */
  const cmsis_nn_context context = {.buf = (void *)op->sums, .size = op->sums ? 4 * op->output.c : 0};
  const cmsis_nn_per_channel_quant_params scales = {.multiplier = (int32_t *)op->multipliers,
                                                    .shift = (int32_t *)op->shifts};
  (void)arm_fully_connected_per_channel_s8(&context, &op->params, &scales, &op->input, input, &op->filter, op->weights,
                                           &op->bias, op->bias_data, &op->output, output);
}
