#include "reduce_sum_s16.h"

static int32_t sum_of(const tinyopt_reduction *shape, const int16_t *first) {
  int32_t sum = 0;
  for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
    for (int32_t j = 0; j < shape->reduced_size[1]; ++j) {
      const int16_t *value = first + i * shape->reduced_step[0] + j * shape->reduced_step[1];
      for (int32_t k = 0; k < shape->reduced_size[2]; ++k) {
        sum += *value;
        value += shape->reduced_step[2];
      }
    }
  }
  return sum;
}

void tinyopt_reduce_sum_s16_ref(const tinyopt_reduce_sum_s16 *op, const int16_t *input, int16_t *output) {
  const tinyopt_reduction *shape = &op->shape;
  for (int32_t i = 0; i < shape->kept_size[0]; ++i) {
    for (int32_t j = 0; j < shape->kept_size[1]; ++j) {
      for (int32_t k = 0; k < shape->kept_size[2]; ++k) {
        int32_t at = i * shape->kept_step[0] + j * shape->kept_step[1] + k * shape->kept_step[2];
        int32_t sum = sum_of(shape, input + at) - op->sum_zero_point;
        uint32_t value = (uint32_t)tinyopt_requantize(sum, op->multiplier, op->shift) + (uint32_t)op->output_zero_point;
        *output++ = (int16_t)tinyopt_clamp((int32_t)value, INT16_MIN, INT16_MAX);
      }
    }
  }
}
