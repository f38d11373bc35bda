#include "argmax_f32.h"

static int32_t index_of_largest(const float *first, int32_t count, int32_t step) {
  int32_t best = 0;
  for (int32_t i = 1; i < count; ++i) {
    if (first[i * step] > first[best * step]) {
      best = i;
    }
  }
  return best;
}

void tinyopt_argmax_f32_ref(const tinyopt_argmax_f32 *op, const float *input, int32_t *output) {
  for (int32_t i = 0; i < op->outer; ++i) {
    for (int32_t j = 0; j < op->inner; ++j) {
      *output++ = index_of_largest(input + j, op->count, op->inner);
    }
    input += op->count * op->inner;
  }
}

void tinyopt_argmax_f32_wide_ref(const tinyopt_argmax_f32 *op, const float *input, int64_t *output) {
  for (int32_t i = 0; i < op->outer; ++i) {
    for (int32_t j = 0; j < op->inner; ++j) {
      *output++ = index_of_largest(input + j, op->count, op->inner);
    }
    input += op->count * op->inner;
  }
}
