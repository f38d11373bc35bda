#include "rescale.h"

void tinyopt_rescale_s16_u8_ref(const tinyopt_rescale *op, const int16_t *input, uint8_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = (uint8_t)tinyopt_clamp(tinyopt_requantized(op, input[i]), 0, UINT8_MAX);
  }
}
