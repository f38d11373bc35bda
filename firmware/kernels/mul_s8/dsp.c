/* Products of int8 tensors with the Arm DSP extension: SMMULR of the doubled product is the rounding doubling high
 * multiply, SSAT the end of the rounding shift (see dsp.h). */
#include "dsp.h"
#include "mul_s8.h"

/* What all products share; b counts double. */
typedef struct {
  int32_t a_zero_point;
  int32_t b_zero_point;
  int32_t multiplier;
  int32_t right;
  int32_t offset;
} scale_t;

static inline int8_t product_of(const scale_t *scale, int32_t a, int32_t b) {
  int32_t doubled = (a - scale->a_zero_point) * (2 * b - scale->b_zero_point);
  return tinyopt_requantize_doubled_s8(doubled, scale->multiplier, scale->right, scale->offset);
}

/* Two rows of neighbours. Two products at a time: their loads follow each other, which is faster. */
static void multiply_rows(const scale_t *scale, const int8_t *a, const int8_t *b, int8_t *output, int32_t count) {
  for (; count > 1; count -= 2, a += 2, b += 2, output += 2) {
    int32_t a_first = a[0];
    int32_t a_second = a[1];
    int32_t b_first = b[0];
    int32_t b_second = b[1];
    output[0] = product_of(scale, a_first, b_first);
    output[1] = product_of(scale, a_second, b_second);
  }
  if (count > 0) {
    *output = product_of(scale, *a, *b);
  }
}

void tinyopt_mul_s8_dsp(const tinyopt_mul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  const scale_t scale = {op->a_zero_point, 2 * op->b_zero_point, op->multiplier, -op->shift - 1,
                         2 * op->output_zero_point + 1};
  const int32_t columns = op->broadcast.columns;
  const int32_t a_step = op->broadcast.a_step;
  const int32_t b_step = op->broadcast.b_step;
  tinyopt_broadcast_row row = {0};
  int8_t *begin = output;
  do {
    const int8_t *a_value = a + row.a;
    const int8_t *b_value = b + row.b;
    if (a_step == 1 && b_step == 1) {
      multiply_rows(&scale, a_value, b_value, output, columns);
      output += columns;
    } else {
      for (const int8_t *end = output + columns; output < end; a_value += a_step, b_value += b_step) {
        *output++ = product_of(&scale, *a_value, *b_value);
      }
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
