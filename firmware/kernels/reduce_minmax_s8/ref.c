#include "reduce_minmax_s8.h"

static int8_t extreme_of(const tinyopt_reduction *shape, const int8_t *first, bool maximum) {
  int8_t extreme = *first;
  for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
    for (int32_t j = 0; j < shape->reduced_size[1]; ++j) {
      const int8_t *value = first + i * shape->reduced_step[0] + j * shape->reduced_step[1];
      for (int32_t k = 0; k < shape->reduced_size[2]; ++k) {
        if (maximum ? *value > extreme : *value < extreme) {
          extreme = *value;
        }
        value += shape->reduced_step[2];
      }
    }
  }
  return extreme;
}

void tinyopt_reduce_minmax_s8_ref(const tinyopt_reduce_minmax_s8 *op, const int8_t *input, int8_t *output) {
  const tinyopt_reduction *shape = &op->shape;
  for (int32_t i = 0; i < shape->kept_size[0]; ++i) {
    for (int32_t j = 0; j < shape->kept_size[1]; ++j) {
      for (int32_t k = 0; k < shape->kept_size[2]; ++k) {
        int32_t at = i * shape->kept_step[0] + j * shape->kept_step[1] + k * shape->kept_step[2];
        int8_t extreme = extreme_of(shape, input + at, op->maximum != 0);
        if (op->rescale) {
          extreme = tinyopt_requantize_s8(extreme - op->input_zero_point, op->multiplier, op->shift,
                                          op->output_zero_point, INT8_MIN, INT8_MAX);
        }
        *output++ = extreme;
      }
    }
  }
}
