#include "layer_norm_s8.h"

/* floor(sqrt(value)), bit by bit. */
static uint32_t square_root(uint64_t value) {
  uint64_t root = 0;
  for (uint64_t bit = (uint64_t)1 << 62; bit; bit >>= 2) {
    if (value >= root + bit) {
      value -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return (uint32_t)root;
}

void tinyopt_layer_norm_s8_ref(const tinyopt_layer_norm_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    int32_t sum = 0;
    int32_t squares = 0;
    for (int32_t i = 0; i < op->depth; ++i) {
      sum += input[i];
      squares += input[i] * input[i];
    }
    int64_t spread = (int64_t)op->depth * squares - (int64_t)sum * sum + op->epsilon;
    uint32_t root = square_root((uint64_t)spread << 16);
    int zeros = tinyopt_leading_zeros(root);
    int64_t inverse = root ? (int64_t)(((uint64_t)1 << 62) / ((uint64_t)root << zeros)) : 0;
    int shift = root ? 42 - zeros : 1;
    for (int32_t i = 0; i < op->depth; ++i) {
      int64_t product = (int64_t)(op->depth * input[i] - sum) * inverse;
      int32_t normalised = (int32_t)((product + ((int64_t)1 << (shift - 1))) >> shift);
      int32_t value = normalised * (op->gamma[i] - op->gamma_zero_point) + op->beta[i];
      output[i] = tinyopt_requantize_s8(value, op->multiplier, op->shift, op->output_zero_point, INT8_MIN, INT8_MAX);
    }
    input += op->depth;
    output += op->depth;
  }
}
