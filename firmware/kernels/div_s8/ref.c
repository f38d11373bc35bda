#include "div_s8.h"

/* What stands for infinity before the output's zero point is added. */
#define LIMIT (1 << 30)

/* numerator / divisor, scaled to the output. */
static int32_t quotient(const tinyopt_div_s8 *op, int32_t numerator, int32_t divisor) {
  if (divisor == 0) {
    return numerator == 0 ? 0 : (numerator > 0 ? LIMIT : -LIMIT);
  }
  if (divisor < 0) {
    numerator = -numerator;
    divisor = -divisor;
  }
  int bits;
  int32_t inverse = tinyopt_reciprocal(divisor, 31, &bits);
  int headroom = tinyopt_leading_zeros((uint32_t)(numerator < 0 ? ~numerator : numerator)) - 1;
  int32_t high = (int32_t)((uint32_t)numerator << headroom);
  int32_t scaled = tinyopt_doubling_high_multiply(tinyopt_doubling_high_multiply(high, inverse), op->multiplier);
  int exponent = bits + headroom - op->shift;
  if (exponent > 31) {
    return 0;
  }
  if (exponent >= 0) {
    return tinyopt_rounding_shift_right(scaled, exponent);
  }
  int64_t wide = (int64_t)scaled * ((int64_t)1 << (-exponent > 31 ? 31 : -exponent));
  return wide > LIMIT ? LIMIT : (wide < -LIMIT ? -LIMIT : (int32_t)wide);
}

void tinyopt_div_s8_ref(const tinyopt_div_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const int8_t *a_value = a + row.a;
    const int8_t *b_value = b + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      int32_t value = quotient(op, *a_value - op->a_zero_point, *b_value - op->b_zero_point) + op->output_zero_point;
      *output++ = (int8_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
      a_value += op->broadcast.a_step;
      b_value += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_div_s8_constant_ref(const tinyopt_div_s8 *op, const int8_t *input, int8_t *output) {
  if (op->constant_first) {
    tinyopt_div_s8_ref(op, op->constant, input, output);
  } else {
    tinyopt_div_s8_ref(op, input, op->constant, output);
  }
}
