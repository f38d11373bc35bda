#include "prelu_s8.h"

void tinyopt_prelu_s8_ref(const tinyopt_prelu_s8 *op, const int8_t *input, int8_t *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const int8_t *source = input + row.a;
    const int8_t *alpha = op->alpha + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      int32_t value = *source - op->input_zero_point;
      int32_t multiplier = op->positive_multiplier;
      int32_t shift = op->positive_shift;
      if (value < 0) {
        value *= *alpha - op->alpha_zero_point;
        multiplier = op->negative_multiplier;
        shift = op->negative_shift;
      }
      *output++ = tinyopt_requantize_s8(value, multiplier, shift, op->output_zero_point, INT8_MIN, INT8_MAX);
      source += op->broadcast.a_step;
      alpha += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}
