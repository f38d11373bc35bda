#include "dot.h"

/* Unrolling saves the counting, which would cost as much as the products. Armv6-M has too few registers for it. */
#if defined(__ARM_ARCH_6M__)
#define UNROLLED 0
#else
#define UNROLLED 1
#endif

int32_t tinyopt_dot_s8(int32_t sum, const int8_t *x, const int8_t *weights, int32_t size) {
  int32_t i = 0;
  if (UNROLLED) {
    for (; i + 4 <= size; i += 4) {
      sum = tinyopt_mac(sum, x[i], weights[i]);
      sum = tinyopt_mac(sum, x[i + 1], weights[i + 1]);
      sum = tinyopt_mac(sum, x[i + 2], weights[i + 2]);
      sum = tinyopt_mac(sum, x[i + 3], weights[i + 3]);
    }
  }
  for (; i < size; ++i) {
    sum = tinyopt_mac(sum, x[i], weights[i]);
  }
  return sum;
}

void tinyopt_dot_pair_s8(int32_t *sums, const int8_t *x, const int8_t *weights, const int8_t *next, int32_t size) {
  int32_t sum = sums[0];
  int32_t next_sum = sums[1];
  int32_t i = 0;
  if (UNROLLED) {
    for (; i + 4 <= size; i += 4) {
      sum = tinyopt_mac(sum, x[i], weights[i]);
      next_sum = tinyopt_mac(next_sum, x[i], next[i]);
      sum = tinyopt_mac(sum, x[i + 1], weights[i + 1]);
      next_sum = tinyopt_mac(next_sum, x[i + 1], next[i + 1]);
      sum = tinyopt_mac(sum, x[i + 2], weights[i + 2]);
      next_sum = tinyopt_mac(next_sum, x[i + 2], next[i + 2]);
      sum = tinyopt_mac(sum, x[i + 3], weights[i + 3]);
      next_sum = tinyopt_mac(next_sum, x[i + 3], next[i + 3]);
    }
  }
  for (; i < size; ++i) {
    sum = tinyopt_mac(sum, x[i], weights[i]);
    next_sum = tinyopt_mac(next_sum, x[i], next[i]);
  }
  sums[0] = sum;
  sums[1] = next_sum;
}
