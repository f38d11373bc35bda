#include "cmsis_nn_conv2d_s8.h"

void tinyopt_conv2d_s8_cmsis_nn(const tinyopt_cmsis_nn_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                void *scratch) {
  const cmsis_nn_context context = {.buf = scratch, .size = op->scratch_bytes};
  /* CMSIS-NN reads through these pointers, although their type does not say so. */
  const cmsis_nn_per_channel_quant_params scales = {.multiplier = (int32_t *)op->multipliers,
                                                    .shift = (int32_t *)op->shifts};
  (void)arm_convolve_wrapper_s8(&context, &op->params, &scales, &op->input, input, &op->filter, op->weights, &op->bias,
                                op->bias_data, &op->output, output);
}
