#include "leaky_relu_s16.h"

void tinyopt_leaky_relu_s16_ref(const tinyopt_leaky_relu_s16 *op, const int16_t *input, int16_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    int32_t centred = input[i] - op->input_zero_point;
    int32_t value;
    if (centred >= 0) {
      value = tinyopt_requantize(centred, op->positive_multiplier, op->positive_shift);
    } else {
      value = (int32_t)((uint32_t)op->negative_sign *
                        (uint32_t)tinyopt_requantize(centred, op->negative_multiplier, op->negative_shift));
    }
    value = (int32_t)((uint32_t)value + (uint32_t)op->output_zero_point);
    output[i] = (int16_t)tinyopt_clamp(value, INT16_MIN, INT16_MAX);
  }
}
