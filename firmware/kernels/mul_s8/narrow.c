/* Products of int8 are below 2^16, so that cores without a long multiply requantize them faster. */
#include "mul_s8.h"
#include "narrow.h"

void tinyopt_mul_s8_narrow(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  tinyopt_narrow scale = tinyopt_narrow_to(op->output_zero_point, op->clamp_low, op->clamp_high);
  scale.multiplier = op->multiplier;
  scale.right = -op->shift - 1;
  int32_t a_zero = op->a_zero_point;
  int32_t b_zero = op->b_zero_point;
  tinyopt_broadcast_row row = {0};
  do {
    const int8_t *a_value = a + row.a;
    const int8_t *b_value = b + row.b;
    for (int32_t i = op->broadcast.columns; i > 0; --i) {
      *output++ = tinyopt_narrow_s8(&scale, (*a_value - a_zero) * (*b_value - b_zero));
      a_value += op->broadcast.a_step;
      b_value += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_mul_s8_constant_narrow(const tinyopt_mul_s8 *op, const int8_t *input, int8_t *output) {
  if (op->constant_first) {
    tinyopt_mul_s8_narrow(op, op->constant, input, output);
  } else {
    tinyopt_mul_s8_narrow(op, input, op->constant, output);
  }
}
