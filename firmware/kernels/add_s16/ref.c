#include "add_s16.h"

void tinyopt_add_s16_ref(const tinyopt_add_s16 *op, const int16_t *a, const int16_t *b, int16_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const int16_t *a_value = a + row.a;
    const int16_t *b_value = b + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      int32_t a_high = (*a_value - op->a_zero_point) * (1 << 15);
      int32_t b_high = (*b_value - op->b_zero_point) * (1 << 15);
      int32_t sum = tinyopt_requantize(a_high, op->a_multiplier, op->a_shift) +
                    op->b_sign * tinyopt_requantize(b_high, op->b_multiplier, op->b_shift);
      uint32_t value =
          (uint32_t)tinyopt_requantize(sum, op->output_multiplier, op->output_shift) + (uint32_t)op->output_zero_point;
      *output++ = (int16_t)tinyopt_clamp((int32_t)value, op->clamp_low, op->clamp_high);
      a_value += op->broadcast.a_step;
      b_value += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_add_s16_constant_ref(const tinyopt_add_s16 *op, const int16_t *input, int16_t *output) {
  if (op->constant_first) {
    tinyopt_add_s16_ref(op, op->constant, input, output);
  } else {
    tinyopt_add_s16_ref(op, input, op->constant, output);
  }
}
