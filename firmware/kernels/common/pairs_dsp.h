/* Sums of products of int8 patches and weights with the Arm DSP extension: one or two patches by one or two rows of
 * weights. Four weights and four activations are widened to pairs in the same order, so neither is rearranged and every
 * SMLAD makes two products. Rows of weights are padded with zeros to a multiple of four; two rows are interleaved by
 * four weights. A patch is read no further than its size, and needs no alignment.
 */
#ifndef TINYOPT_PAIRS_DSP_H
#define TINYOPT_PAIRS_DSP_H

#include "dsp.h"

/* sum + four products. */
static inline int32_t tinyopt_add_4(uint32_t x_even, uint32_t x_odd, uint32_t weights, int32_t sum) {
  sum = tinyopt_smlad(x_even, tinyopt_sxtb16(weights), sum);
  return tinyopt_smlad(x_odd, tinyopt_sxtb16_ror8(weights), sum);
}

static inline void tinyopt_add_2x2(uint32_t x0, uint32_t x1, const int8_t *weights, int32_t *sums) {
  uint32_t first = tinyopt_load_s8x4(weights);
  uint32_t second = tinyopt_load_s8x4(weights + 4);
  uint32_t first_even = tinyopt_sxtb16(first);
  uint32_t first_odd = tinyopt_sxtb16_ror8(first);
  uint32_t second_even = tinyopt_sxtb16(second);
  uint32_t second_odd = tinyopt_sxtb16_ror8(second);
  uint32_t even = tinyopt_sxtb16(x0);
  uint32_t odd = tinyopt_sxtb16_ror8(x0);
  sums[0] = tinyopt_smlad(odd, first_odd, tinyopt_smlad(even, first_even, sums[0]));
  sums[1] = tinyopt_smlad(odd, second_odd, tinyopt_smlad(even, second_even, sums[1]));
  even = tinyopt_sxtb16(x1);
  odd = tinyopt_sxtb16_ror8(x1);
  sums[2] = tinyopt_smlad(odd, first_odd, tinyopt_smlad(even, first_even, sums[2]));
  sums[3] = tinyopt_smlad(odd, second_odd, tinyopt_smlad(even, second_even, sums[3]));
}

/* Two patches by two rows; sums: patch 0 rows 0 and 1, patch 1 rows 0 and 1. */
static inline void tinyopt_sums_2x2(const int8_t *x0, const int8_t *x1, const int8_t *weights, int32_t size,
                                    int32_t *sums) {
  for (const int8_t *end = x0 + (size & ~3); x0 != end; x0 += 4, x1 += 4, weights += 8) {
    tinyopt_add_2x2(tinyopt_load_s8x4(x0), tinyopt_load_s8x4(x1), weights, sums);
  }
  if (size & 3) {
    tinyopt_add_2x2(tinyopt_load_s8_tail(x0, size & 3), tinyopt_load_s8_tail(x1, size & 3), weights, sums);
  }
}

/* One patch by two rows. */
static inline void tinyopt_sums_1x2(const int8_t *x, const int8_t *weights, int32_t size, int32_t *sums) {
  for (int32_t left = size; left > 0; left -= 4, x += 4, weights += 8) {
    uint32_t word = left < 4 ? tinyopt_load_s8_tail(x, left) : tinyopt_load_s8x4(x);
    uint32_t even = tinyopt_sxtb16(word);
    uint32_t odd = tinyopt_sxtb16_ror8(word);
    sums[0] = tinyopt_add_4(even, odd, tinyopt_load_s8x4(weights), sums[0]);
    sums[1] = tinyopt_add_4(even, odd, tinyopt_load_s8x4(weights + 4), sums[1]);
  }
}

/* One patch by one row. */
static inline int32_t tinyopt_sums_1x1(const int8_t *x, const int8_t *weights, int32_t size, int32_t sum) {
  for (int32_t left = size; left > 0; left -= 4, x += 4, weights += 4) {
    uint32_t word = left < 4 ? tinyopt_load_s8_tail(x, left) : tinyopt_load_s8x4(x);
    sum = tinyopt_add_4(tinyopt_sxtb16(word), tinyopt_sxtb16_ror8(word), tinyopt_load_s8x4(weights), sum);
  }
  return sum;
}

#endif
