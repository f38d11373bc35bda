/* Signs of int8 values as bits, with the Arm DSP extension: four comparisons, four bits and their sum in an instruction
 * each. */
#include "dsp.h"
#include "pack_signs.h"

/* Bit i of the result is 1 where byte i of x is at least byte i of the limits. */
static TINYOPT_ALWAYS_INLINE uint32_t signs_of_four(uint32_t x, uint32_t limits) {
#if TINYOPT_HAS_DSP
  uint32_t bits;
  __asm__("ssub8 %0, %1, %2\n\t"
          "sel %0, %3, %4\n\t"
          "usad8 %0, %0, %4"
          : "=&r"(bits)
          : "r"(x), "r"(limits), "r"(0x08040201u), "r"(0u)
          : "cc");
  return bits;
#else
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) {
    bits |= ((int8_t)(x >> (8 * i)) >= (int8_t)(limits >> (8 * i)) ? 1u : 0u) << i;
  }
  return bits;
#endif
}

static TINYOPT_ALWAYS_INLINE uint32_t signs_of_sixteen(const int8_t *input, uint32_t limits) {
  return signs_of_four(tinyopt_load_s8x4(input), limits) | signs_of_four(tinyopt_load_s8x4(input + 4), limits) << 4 |
         signs_of_four(tinyopt_load_s8x4(input + 8), limits) << 8 |
         signs_of_four(tinyopt_load_s8x4(input + 12), limits) << 12;
}

void tinyopt_pack_signs_s8_dsp(const tinyopt_pack_signs *op, const int8_t *input, int32_t *output) {
  const int32_t zero_point = op->zero_point;
  const uint32_t limits = (uint8_t)zero_point * 0x01010101u;
  for (int32_t pixel = 0; pixel < op->pixels; ++pixel) {
    for (int32_t left = op->channels; left > 0; left -= 32) {
      const int32_t count = tinyopt_min(left, 32);
      uint32_t word = 0;
      if (count == 32) {
        word = signs_of_sixteen(input, limits) | signs_of_sixteen(input + 16, limits) << 16;
      } else { /* from the last sign to the first, so that each step shifts by one */
        for (int32_t i = count - 1; i >= 0; --i) {
          word = (word << 1) | (input[i] >= zero_point ? 1u : 0u);
        }
      }
      input += count;
      memcpy(output++, &word, sizeof word); /* the words may lie over the values that were read */
    }
  }
}
