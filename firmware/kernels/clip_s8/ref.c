#include "clip_s8.h"

void tinyopt_clip_s8_ref(const tinyopt_clip_s8 *op, const int8_t *input, int8_t *output) {
  const int32_t size = op->size; /* kept here: the compiler must assume that a written byte may change *op */
  const int32_t low = op->clamp_low;
  const int32_t high = op->clamp_high;
  for (int32_t i = 0; i < size; ++i) {
    output[i] = (int8_t)tinyopt_clamp(input[i], low, high);
  }
}
