/* Sums of neighbouring int8 elements with the Arm DSP extension: SXTAB16 adds four to two pairs of 16-bit sums, which
 * are added to 32-bit ones before they can overflow. The last outputs of a run are computed again with those before
 * them where they are fewer than four. */
#include "dsp.h"
#include "reduce_sum_s8.h"

enum { GROUP = 4, CHUNK = 255 };

static void sum_of(const tinyopt_reduction *shape, const int8_t *first, int32_t sums[GROUP]) {
  const int32_t step = shape->reduced_step[2];
  for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
    for (int32_t j = 0; j < shape->reduced_size[1]; ++j) {
      const int8_t *value = first + i * shape->reduced_step[0] + j * shape->reduced_step[1];
      for (int32_t left = shape->reduced_size[2]; left > 0; left -= CHUNK) {
        uint32_t even = 0;
        uint32_t odd = 0;
        for (int32_t k = tinyopt_min(left, CHUNK); k > 0; --k, value += step) {
          uint32_t word = tinyopt_load_s8x4(value);
          even = tinyopt_sxtab16(even, word);
          odd = tinyopt_sxtab16_ror8(odd, word);
        }
        sums[0] += tinyopt_low_half(even);
        sums[1] += tinyopt_low_half(odd);
        sums[2] += tinyopt_high_half(even);
        sums[3] += tinyopt_high_half(odd);
      }
    }
  }
}

void tinyopt_reduce_sum_s8_dsp(const tinyopt_reduce_sum_s8 *op, const int8_t *input, int8_t *output) {
  const tinyopt_reduction *shape = &op->shape;
  const int32_t run = shape->kept_size[2];
  for (int32_t i = 0; i < shape->kept_size[0]; ++i) {
    for (int32_t j = 0; j < shape->kept_size[1]; ++j, output += run) {
      const int8_t *first = input + i * shape->kept_step[0] + j * shape->kept_step[1];
      for (int32_t done = 0; done < run; done += GROUP) {
        int32_t at = tinyopt_min(done, run - GROUP);
        int32_t sums[GROUP] = {0};
        sum_of(shape, first + at, sums);
        for (int32_t k = 0; k < GROUP; ++k) {
          output[at + k] = tinyopt_requantize_s8(sums[k] - op->sum_zero_point, op->multiplier, op->shift,
                                                 op->output_zero_point, INT8_MIN, INT8_MAX);
        }
      }
    }
  }
}
