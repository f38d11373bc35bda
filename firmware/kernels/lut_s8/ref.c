#include "lut_s8.h"

void tinyopt_lut_s8_ref(const tinyopt_lut_s8 *op, const int8_t *input, int8_t *output) {
  const int8_t *table = op->table; /* kept here: the compiler must assume that a written byte may change *op */
  const int32_t size = op->size;
  for (int32_t i = 0; i < size; ++i) {
    output[i] = table[(uint8_t)input[i]];
  }
}
