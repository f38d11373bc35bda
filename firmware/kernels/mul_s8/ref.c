#include "mul_s8.h"

void tinyopt_mul_s8_ref(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  /* A copy, whose fields stay in registers: the compiler must assume that a written byte may change *op. */
  const tinyopt_mul_s8 p = *op;
  tinyopt_broadcast_row row = {0};
  do {
    const int8_t *a_value = a + row.a;
    const int8_t *b_value = b + row.b;
    for (int32_t i = 0; i < p.broadcast.columns; ++i) {
      int32_t product = (*a_value - p.a_zero_point) * (*b_value - p.b_zero_point);
      *output++ = tinyopt_requantize_s8(product, p.multiplier, p.shift, p.output_zero_point, p.clamp_low, p.clamp_high);
      a_value += p.broadcast.a_step;
      b_value += p.broadcast.b_step;
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
