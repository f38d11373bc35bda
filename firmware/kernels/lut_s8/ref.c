#include "lut_s8.h"

void tinyopt_lut_s8_ref(const tinyopt_lut_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = op->table[(uint8_t)input[i]];
  }
}
