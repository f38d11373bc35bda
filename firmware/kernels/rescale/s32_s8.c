#include "rescale.h"

void tinyopt_rescale_s32_s8_ref(const tinyopt_rescale *op, const int32_t *input, int8_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = (int8_t)tinyopt_clamp(tinyopt_requantized(op, input[i]), INT8_MIN, INT8_MAX);
  }
}
