#include "minmax_s8.h"

void tinyopt_minmax_s8_ref(const tinyopt_minmax_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const int8_t *a_pointer = a + row.a;
    const int8_t *b_pointer = b + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      int32_t a_value = *a_pointer;
      int32_t b_value = *b_pointer;
      if (op->rescale) {
        a_value = tinyopt_requantize_s8(a_value - op->a_zero_point, op->a_multiplier, op->a_shift,
                                        op->output_zero_point, INT8_MIN, INT8_MAX);
        b_value = tinyopt_requantize_s8(b_value - op->b_zero_point, op->b_multiplier, op->b_shift,
                                        op->output_zero_point, INT8_MIN, INT8_MAX);
      }
      int32_t value = (a_value > b_value) == (op->maximum != 0) ? a_value : b_value;
      *output++ = (int8_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
      a_pointer += op->broadcast.a_step;
      b_pointer += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_minmax_s8_constant_ref(const tinyopt_minmax_s8 *op, const int8_t *input, int8_t *output) {
  tinyopt_minmax_s8_ref(op, input, op->constant, output);
}
