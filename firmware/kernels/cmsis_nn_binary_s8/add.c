#include "cmsis_nn_binary_s8.h"

void tinyopt_add_s8_cmsis_nn(const tinyopt_cmsis_nn_binary_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  (void)arm_elementwise_add_s8(a, b, op->a_offset, op->a_multiplier, op->a_shift, op->b_offset, op->b_multiplier,
                               op->b_shift, op->left_shift, output, op->output_offset, op->output_multiplier,
                               op->output_shift, op->clamp_low, op->clamp_high, op->elements);
}
