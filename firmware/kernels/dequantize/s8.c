#include "dequantize.h"

void tinyopt_dequantize_s8_ref(const tinyopt_dequantize *op, const int8_t *input, float *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = op->scale * (float)(input[i] - op->zero_point);
  }
}
