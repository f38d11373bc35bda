#include "clip_s16.h"

void tinyopt_clip_s16_ref(const tinyopt_clip_s16 *op, const int16_t *input, int16_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    int32_t value = input[i];
    if (op->rescale) {
      value = tinyopt_requantize(value - op->input_zero_point, op->multiplier, op->shift);
      value = (int32_t)((uint32_t)value + (uint32_t)op->output_zero_point);
    }
    output[i] = (int16_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
  }
}
