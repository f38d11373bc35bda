#include "fake.h"

/* A few hundred bytes of stack, so that a test can see them. */
void fake_dense(const int8_t *input, const int8_t *weights, int8_t *output) {
  volatile int32_t products[4][24];
  for (int n = 0; n < 4; ++n) {
    int32_t sum = 0;
    for (int k = 0; k < 24; ++k) {
      products[n][k] = input[k] * weights[n * 24 + k];
    }
    for (int k = 0; k < 24; ++k) {
      sum += products[n][k];
    }
    output[n] = (int8_t)(sum % 128);
  }
}

int32_t fake_sum(const int8_t *input, int32_t sum) {
  for (int k = 0; k < 8; ++k) {
    sum += input[k];
#ifdef FAKE_FAULT
    if (input[k] == 13) {
      __builtin_trap();
    }
#endif
#ifdef FAKE_HANG
    while (input[k] == 13) {
    }
#endif
  }
  return sum;
}
