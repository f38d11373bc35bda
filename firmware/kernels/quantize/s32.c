#include "quantize.h"

void tinyopt_quantize_s32_ref(const tinyopt_quantize *op, const float *input, int32_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = tinyopt_quantize_round(input[i] / op->scale);
  }
}
