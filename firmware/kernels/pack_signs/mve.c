/* Signs of int8 values as bits, with Helium: a comparison of sixteen bytes gives sixteen bits. */
#include "mve.h"
#include "pack_signs.h"

/* The signs of at most sixteen values. */
static TINYOPT_ALWAYS_INLINE uint32_t signs_of(const int8_t *input, int32_t count, int32_t zero_point) {
#if TINYOPT_HAS_MVE
  mve_pred16_t some = vctp8q((uint32_t)count);
  return (uint32_t)vcmpgeq_m_n_s8(vldrbq_z_s8(input, some), (int8_t)zero_point, some);
#else
  uint32_t bits = 0;
  for (int32_t i = 0; i < count; ++i) {
    bits |= (input[i] >= zero_point ? 1u : 0u) << i;
  }
  return bits;
#endif
}

void tinyopt_pack_signs_s8_mve(const tinyopt_pack_signs *op, const int8_t *input, int32_t *output) {
  for (int32_t pixel = 0; pixel < op->pixels; ++pixel) {
    for (int32_t left = op->channels; left > 0; left -= 32) {
      const int32_t count = tinyopt_min(left, 32);
      uint32_t word = signs_of(input, tinyopt_min(count, 16), op->zero_point);
      if (count > 16) {
        word |= signs_of(input + 16, count - 16, op->zero_point) << 16;
      }
      input += count;
      memcpy(output++, &word, sizeof word); /* the words may lie over the values that were read */
    }
  }
}
