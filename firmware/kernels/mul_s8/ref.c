#include "mul_s8.h"

void tinyopt_mul_s8_ref(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const int8_t *a_value = a + row.a;
    const int8_t *b_value = b + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      int32_t product = (*a_value - op->a_zero_point) * (*b_value - op->b_zero_point);
      *output++ = tinyopt_requantize_s8(product, op->multiplier, op->shift, op->output_zero_point, op->clamp_low,
                                        op->clamp_high);
      a_value += op->broadcast.a_step;
      b_value += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_mul_s8_constant_ref(const tinyopt_mul_s8 *op, const int8_t *input, int8_t *output) {
  if (op->constant_first) {
    tinyopt_mul_s8_ref(op, op->constant, input, output);
  } else {
    tinyopt_mul_s8_ref(op, input, op->constant, output);
  }
}
