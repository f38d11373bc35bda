/* Products of int8 tensors with the Arm DSP extension: SMMULR of the doubled product is the rounding doubling high
 * multiply, SSAT the end of the rounding shift (see dsp.h). */
#include "dsp.h"
#include "mul_s8.h"

void tinyopt_mul_s8_dsp(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  const int32_t a_zero_point = op->a_zero_point;
  const int32_t b_zero_point = 2 * op->b_zero_point;
  const int32_t multiplier = op->multiplier;
  const int32_t right = -op->shift - 1;
  const int32_t offset = 2 * op->output_zero_point + 1;
  const int32_t a_step = op->broadcast.a_step;
  const int32_t b_step = op->broadcast.b_step;
  tinyopt_broadcast_row row = {0};
  int8_t *begin = output;
  do {
    const int8_t *a_value = a + row.a;
    const int8_t *b_value = b + row.b;
    for (const int8_t *end = output + op->broadcast.columns; output < end;) {
      int32_t doubled = (*a_value - a_zero_point) * (2 * *b_value - b_zero_point);
      a_value += a_step;
      b_value += b_step;
      *output++ = tinyopt_requantize_doubled_s8(doubled, multiplier, right, offset);
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
  if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
    for (; begin < output; ++begin) {
      *begin = (int8_t)tinyopt_clamp(*begin, op->clamp_low, op->clamp_high);
    }
  }
}

void tinyopt_mul_s8_constant_dsp(const tinyopt_mul_s8 *op, const int8_t *input, int8_t *output) {
  if (op->constant_first) {
    tinyopt_mul_s8_dsp(op, op->constant, input, output);
  } else {
    tinyopt_mul_s8_dsp(op, input, op->constant, output);
  }
}
