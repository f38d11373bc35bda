#include "rescale.h"

void tinyopt_rescale_s32_s16_ref(const tinyopt_rescale *op, const int32_t *input, int16_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = (int16_t)tinyopt_clamp(tinyopt_requantized(op, input[i]), INT16_MIN, INT16_MAX);
  }
}
