#include "dequantize.h"

void tinyopt_dequantize_s32_ref(const tinyopt_dequantize *op, const int32_t *input, float *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = op->scale * (float)((int64_t)input[i] - op->zero_point);
  }
}
