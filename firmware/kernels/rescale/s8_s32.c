#include "rescale.h"

void tinyopt_rescale_s8_s32_ref(const tinyopt_rescale *op, const int8_t *input, int32_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = tinyopt_requantized(op, input[i]);
  }
}
