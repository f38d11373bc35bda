/* Sums of neighbouring int8 elements with Helium, four at a time. */
#include "mve.h"
#include "reduce_sum_s8.h"

enum { GROUP = 4 };

/* Up to four sums, of which the first `count` matter. */
static void sum_of(const tinyopt_reduction *shape, const int8_t *first, int32_t count, int32_t sums[GROUP]) {
  const int32_t step = shape->reduced_step[2];
#if TINYOPT_HAS_MVE
  mve_pred16_t lanes = vctp32q((uint32_t)count);
  int32x4_t sum = vdupq_n_s32(0);
#else
  memset(sums, 0, GROUP * sizeof *sums);
#endif
  for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
    for (int32_t j = 0; j < shape->reduced_size[1]; ++j) {
      const int8_t *value = first + i * shape->reduced_step[0] + j * shape->reduced_step[1];
      for (int32_t left = shape->reduced_size[2]; left > 0; --left, value += step) {
#if TINYOPT_HAS_MVE
        sum = vaddq_s32(sum, vldrbq_z_s32(value, lanes));
#else
        for (int32_t k = 0; k < tinyopt_min(count, GROUP); ++k) {
          sums[k] += value[k];
        }
#endif
      }
    }
  }
#if TINYOPT_HAS_MVE
  vst1q_s32(sums, sum);
#endif
}

void tinyopt_reduce_sum_s8_mve(const tinyopt_reduce_sum_s8 *op, const int8_t *input, int8_t *output) {
  const tinyopt_reduction *shape = &op->shape;
  for (int32_t i = 0; i < shape->kept_size[0]; ++i) {
    for (int32_t j = 0; j < shape->kept_size[1]; ++j) {
      const int8_t *first = input + i * shape->kept_step[0] + j * shape->kept_step[1];
      for (int32_t left = shape->kept_size[2]; left > 0; left -= GROUP, first += GROUP) {
        int32_t sums[GROUP];
        sum_of(shape, first, left, sums);
        for (int32_t k = 0; k < tinyopt_min(left, GROUP); ++k) {
          *output++ = tinyopt_requantize_s8(sums[k] - op->sum_zero_point, op->multiplier, op->shift,
                                            op->output_zero_point, INT8_MIN, INT8_MAX);
        }
      }
    }
  }
}
