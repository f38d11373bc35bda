#include "clip_f32.h"

void tinyopt_clip_f32_ref(const tinyopt_clip_f32 *op, const float *input, float *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    float value = input[i];
    output[i] = value < op->clamp_low ? op->clamp_low : (value > op->clamp_high ? op->clamp_high : value);
  }
}
