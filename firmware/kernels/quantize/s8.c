#include "quantize.h"

void tinyopt_quantize_s8_ref(const tinyopt_quantize *op, const float *input, int8_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    int32_t value = tinyopt_quantize_round(input[i] / op->scale);
    /* The limits are moved, not the value, which may lie at the end of its range. */
    output[i] = (int8_t)(tinyopt_clamp(value, INT8_MIN - op->zero_point, INT8_MAX - op->zero_point) + op->zero_point);
  }
}
