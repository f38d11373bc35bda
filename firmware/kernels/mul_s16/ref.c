#include "mul_s16.h"

void tinyopt_mul_s16_ref(const tinyopt_mul_s16 *op, const int16_t *a, const int16_t *b, int16_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const int16_t *a_value = a + row.a;
    const int16_t *b_value = b + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      int32_t product = *a_value * *b_value;
      *output++ = tinyopt_requantize_s16(product, op->multiplier, op->shift, false, op->clamp_low, op->clamp_high);
      a_value += op->broadcast.a_step;
      b_value += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_mul_s16_constant_ref(const tinyopt_mul_s16 *op, const int16_t *input, int16_t *output) {
  if (op->constant_first) {
    tinyopt_mul_s16_ref(op, op->constant, input, output);
  } else {
    tinyopt_mul_s16_ref(op, input, op->constant, output);
  }
}
