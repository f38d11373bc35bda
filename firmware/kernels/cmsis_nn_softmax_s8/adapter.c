#include "cmsis_nn_softmax_s8.h"

void tinyopt_softmax_s8_cmsis_nn(const tinyopt_cmsis_nn_softmax_s8 *op, const int8_t *input, int8_t *output) {
  arm_softmax_s8(input, op->rows, op->depth, op->multiplier, op->shift, op->least_difference, output);
}
