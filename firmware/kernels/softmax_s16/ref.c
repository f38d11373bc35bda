#include "softmax_s16.h"

/* A table of 513 values over the range of int16, interpolated. */
static int32_t look_up(const int16_t *table, int32_t value) {
  int32_t clamped = tinyopt_clamp(value, INT16_MIN, INT16_MAX);
  int32_t index = 256 + (clamped >> 7);
  int32_t base = table[index];
  return base + (((table[index + 1] - base) * (clamped & 0x7f) + 64) >> 7);
}

void tinyopt_softmax_s16_ref(const tinyopt_softmax_s16 *op, const int16_t *input, int16_t *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    int32_t largest = input[0];
    for (int32_t i = 1; i < op->depth; ++i) {
      largest = tinyopt_max(largest, input[i]);
    }
    int32_t sum = 0;
    for (int32_t i = 0; i < op->depth; ++i) {
      int32_t difference = tinyopt_requantize(input[i] - largest, op->multiplier, op->shift);
      int32_t centred = (int32_t)((uint32_t)difference + INT16_MAX);
      output[i] = (int16_t)look_up(op->exponential, centred);
      sum += output[i];
    }
    int zeros = tinyopt_leading_zeros((uint32_t)sum);
    int32_t fraction = (int32_t)((((int64_t)sum << (zeros - 1)) + (1 << 13)) >> 14) - (1 << 15) - (1 << 16);
    int32_t inverse = look_up(op->reciprocal, fraction);
    int shift = 31 - zeros;
    for (int32_t i = 0; i < op->depth; ++i) {
      int64_t product = (int64_t)output[i] * inverse + ((int64_t)1 << (shift - 1));
      output[i] = (int16_t)tinyopt_clamp((int32_t)(product >> shift), 0, INT16_MAX);
    }
    input += op->depth;
    output += op->depth;
  }
}
