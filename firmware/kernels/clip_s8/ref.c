#include "clip_s8.h"

void tinyopt_clip_s8_ref(const tinyopt_clip_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = (int8_t)tinyopt_clamp(input[i], op->clamp_low, op->clamp_high);
  }
}
