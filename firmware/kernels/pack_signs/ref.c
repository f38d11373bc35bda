/* Signs of int8 values as bits, in portable C. */
#include "pack_signs.h"

void tinyopt_pack_signs_s8_ref(const tinyopt_pack_signs *op, const int8_t *input, int32_t *output) {
  const int32_t zero_point = op->zero_point;
  for (int32_t pixel = 0; pixel < op->pixels; ++pixel) {
    for (int32_t left = op->channels; left > 0; left -= 32) {
      int32_t count = tinyopt_min(left, 32);
      uint32_t word = 0;
      /* From the last sign to the first, so that each step shifts by one. */
      for (int32_t i = count - 1; i >= 0; --i) {
        word = (word << 1) | (input[i] >= zero_point ? 1u : 0u);
      }
      input += count;
      memcpy(output++, &word, sizeof word); /* the words may lie over the values that were read */
    }
  }
}
