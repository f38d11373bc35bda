#include "add_s8.h"

/* The doubling high multiply of value * 2^20, |value| < 2^9: its 64-bit product in two of 32 bits. */
static inline int32_t multiply_raised(int32_t value, int32_t multiplier) {
  return value * (multiplier >> 11) + ((value * (multiplier & 2047) + 1024) >> 11);
}

void tinyopt_add_s8_ref(const tinyopt_add_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  /* A copy, whose fields stay in registers: the compiler must assume that a written byte may change *op. */
  const tinyopt_add_s8 p = *op;
  tinyopt_broadcast_row row = {0};
  do {
    const int8_t *a_value = a + row.a;
    const int8_t *b_value = b + row.b;
    const int8_t *end = output + p.broadcast.columns;
    while (output < end) {
      int32_t b_high = multiply_raised(*b_value - p.b_zero_point, p.b_multiplier);
      int32_t sum = *a_value * p.a_factor + p.a_offset + p.b_sign * tinyopt_rounding_shift_right(b_high, -p.b_shift);
      *output++ = tinyopt_requantize_s8(sum, p.output_multiplier, p.output_shift, p.output_zero_point, p.clamp_low,
                                        p.clamp_high);
      a_value += p.broadcast.a_step;
      b_value += p.broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_add_s8_constant_ref(const tinyopt_add_s8 *op, const int8_t *input, int8_t *output) {
  if (op->constant_first) {
    tinyopt_add_s8_ref(op, op->constant, input, output);
  } else {
    tinyopt_add_s8_ref(op, input, op->constant, output);
  }
}
