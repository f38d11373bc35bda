#include "minmax_s16.h"

void tinyopt_minmax_s16_ref(const tinyopt_minmax_s16 *op, const int16_t *a, const int16_t *b, int16_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const int16_t *a_pointer = a + row.a;
    const int16_t *b_pointer = b + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      int32_t a_value = *a_pointer;
      int32_t b_value = *b_pointer;
      int32_t value = (a_value > b_value) == (op->maximum != 0) ? a_value : b_value;
      *output++ = (int16_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
      a_pointer += op->broadcast.a_step;
      b_pointer += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_minmax_s16_constant_ref(const tinyopt_minmax_s16 *op, const int16_t *input, int16_t *output) {
  tinyopt_minmax_s16_ref(op, input, op->constant, output);
}
