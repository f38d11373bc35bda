#include "reduce_sum_s8.h"

/* A function of its own: its loop needs all registers that small cores have. */
TINYOPT_NEVER_INLINE static int32_t sum_of_line(const int8_t *value, int32_t count, int32_t step) {
  int32_t sum = 0;
  for (; count > 3; count -= 4) {
    sum += *value;
    value += step;
    sum += *value;
    value += step;
    sum += *value;
    value += step;
    sum += *value;
    value += step;
  }
  for (; count > 0; --count, value += step) {
    sum += *value;
  }
  return sum;
}

static int32_t sum_of(const tinyopt_reduction *shape, const int8_t *first) {
  int32_t sum = 0;
  for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
    const int8_t *line = first + i * shape->reduced_step[0];
    for (int32_t j = shape->reduced_size[1]; j > 0; --j, line += shape->reduced_step[1]) {
      sum += sum_of_line(line, shape->reduced_size[2], shape->reduced_step[2]);
    }
  }
  return sum;
}

void tinyopt_reduce_sum_s8_ref(const tinyopt_reduce_sum_s8 *op, const int8_t *input, int8_t *output) {
  const tinyopt_reduction *shape = &op->shape;
  for (int32_t i = 0; i < shape->kept_size[0]; ++i) {
    for (int32_t j = 0; j < shape->kept_size[1]; ++j) {
      const int8_t *first = input + i * shape->kept_step[0] + j * shape->kept_step[1];
      for (int32_t k = shape->kept_size[2]; k > 0; --k, first += shape->kept_step[2]) {
        *output++ = tinyopt_requantize_s8(sum_of(shape, first) - op->sum_zero_point, op->multiplier, op->shift,
                                          op->output_zero_point, INT8_MIN, INT8_MAX);
      }
    }
  }
}
