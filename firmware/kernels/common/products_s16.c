#include "products_s16.h"

#include "dsp.h"

enum { GROUP = 4 };

static inline int32_t add_4(int32_t sum, uint32_t first, uint32_t second, const int8_t *weights) {
  uint32_t word = tinyopt_load_s8x4(weights);
  sum = tinyopt_smlad(first, tinyopt_sxtb16(word), sum);
  return tinyopt_smlad(second, tinyopt_sxtb16_ror8(word), sum);
}

/* The sums of `channels` (four, or one) channels; returns where their weights end. */
static TINYOPT_ALWAYS_INLINE const int8_t *dot(const int16_t *x, const int8_t *weights, int32_t depth, int32_t channels,
                                               int32_t sums[GROUP]) {
  int32_t sum0 = 0;
  int32_t sum1 = 0;
  int32_t sum2 = 0;
  int32_t sum3 = 0;
  const int16_t *end = x + (depth & ~3);
  uint32_t first = 0;
  uint32_t second = 0;
  for (;; weights += 4 * channels) {
    if (x < end) {
      first = tinyopt_load_s16x2(x);
      second = tinyopt_load_s16x2(x + 2);
      x += 4;
    } else if ((depth &= 3) != 0) { /* the last ones; those beyond the end are zero */
      first = tinyopt_pair(x[0], depth > 1 ? x[1] : 0);
      second = tinyopt_pair(depth > 2 ? x[2] : 0, 0);
      depth = 0;
    } else {
      break;
    }
    sum0 = add_4(sum0, first, second, weights);
    if (channels == GROUP) {
      sum1 = add_4(sum1, first, second, weights + 4);
      sum2 = add_4(sum2, first, second, weights + 8);
      sum3 = add_4(sum3, first, second, weights + 12);
    }
  }
  sums[0] = sum0;
  if (channels == GROUP) {
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
  }
  return weights;
}

static TINYOPT_NEVER_INLINE const int8_t *dot_4(const int16_t *x, const int8_t *weights, int32_t depth, int32_t *sums) {
  return dot(x, weights, depth, GROUP, sums);
}

static TINYOPT_NEVER_INLINE const int8_t *dot_1(const int16_t *x, const int8_t *weights, int32_t depth, int32_t *sums) {
  return dot(x, weights, depth, 1, sums);
}

void tinyopt_products_s16_of_patch(const tinyopt_products_s16 *op, const int16_t *x, int16_t *output) {
  const int8_t *weights = op->weights;
  int32_t count = 1;
  for (int32_t first = 0; first < op->channels; first += count) {
    int32_t sums[GROUP];
    count = op->channels - first < GROUP ? 1 : GROUP;
    weights = count == GROUP ? dot_4(x, weights, op->depth, sums) : dot_1(x, weights, op->depth, sums);
    for (int32_t c = 0; c < count; ++c) {
      int32_t i = (first + c) * op->per_channel;
      int64_t sum = sums[c] + (op->bias ? op->bias[first + c] : 0);
      output[first + c] =
          tinyopt_requantize_s16(sum, op->multipliers[i], op->shifts[i], op->wide_sums, op->clamp_low, op->clamp_high);
    }
  }
}
