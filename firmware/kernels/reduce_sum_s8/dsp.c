/* Sums of neighbouring int8 elements with the Arm DSP extension: eight at a time (see sums_dsp.h), in sums of 16 bits
 * that are added to 32-bit ones before they can overflow. */
#include "reduce_sum_s8.h"
#include "sums_dsp.h"

/* Of the first word the low and high halves of even and odd, then of the second: 0, 2, 1, 3. */
static void add_up(const tinyopt_reduction *shape, const int8_t *first, int32_t second, int32_t totals[TINYOPT_GROUP]) {
  const int32_t step = shape->reduced_step[2];
  memset(totals, 0, TINYOPT_GROUP * sizeof *totals);
  for (int32_t i = 0; i < shape->reduced_size[0]; ++i) {
    for (int32_t j = 0; j < shape->reduced_size[1]; ++j) {
      const int8_t *value = first + i * shape->reduced_step[0] + j * shape->reduced_step[1];
      for (int32_t left = shape->reduced_size[2]; left > 0; left -= TINYOPT_MOST_SUMMED) {
        int32_t count = tinyopt_min(left, TINYOPT_MOST_SUMMED);
        tinyopt_group_sums sums = {0, 0, 0, 0};
        tinyopt_group_add(&sums, value, count, step, second);
        value += count * step;
        totals[0] += tinyopt_low_half(sums.even);
        totals[1] += tinyopt_high_half(sums.even);
        totals[2] += tinyopt_low_half(sums.odd);
        totals[3] += tinyopt_high_half(sums.odd);
        totals[4] += tinyopt_low_half(sums.second_even);
        totals[5] += tinyopt_high_half(sums.second_even);
        totals[6] += tinyopt_low_half(sums.second_odd);
        totals[7] += tinyopt_high_half(sums.second_odd);
      }
    }
  }
}

/* A function of its own: few multipliers shift to the left or not at all. */
TINYOPT_NEVER_INLINE static int32_t shifted_left(const tinyopt_reduce_sum_s8 *op, int32_t sum) {
  return tinyopt_requantize_s8(sum, op->multiplier, op->shift, op->output_zero_point, INT8_MIN, INT8_MAX);
}

/* What all outputs share. */
typedef struct {
  int32_t zero_point; /* of a sum */
  int32_t multiplier;
  int32_t right; /* as in dsp.h; negative: the shift is not to the right */
  int32_t offset;
} scale_t;

static inline int8_t output_of(const tinyopt_reduce_sum_s8 *op, const scale_t *scale, int32_t sum) {
  sum -= scale->zero_point;
  if (scale->right < 0) {
    return (int8_t)shifted_left(op, sum);
  }
  return tinyopt_requantize_doubled_s8(2 * sum, scale->multiplier, scale->right, scale->offset);
}

/* Four outputs from the sums of a word. */
static void store(const tinyopt_reduce_sum_s8 *op, const scale_t *scale, const int32_t totals[4], int8_t *output) {
  output[0] = output_of(op, scale, totals[0]);
  output[2] = output_of(op, scale, totals[1]);
  output[1] = output_of(op, scale, totals[2]);
  output[3] = output_of(op, scale, totals[3]);
}

void tinyopt_reduce_sum_s8_dsp(const tinyopt_reduce_sum_s8 *op, const int8_t *input, int8_t *output) {
  const tinyopt_reduction *shape = &op->shape;
  const int32_t run = shape->kept_size[2];
  const int32_t second = tinyopt_group_second(run);
  const scale_t scale = {op->sum_zero_point, op->multiplier, -op->shift - 1, 2 * op->output_zero_point + 1};
  for (int32_t i = 0; i < shape->kept_size[0]; ++i) {
    for (int32_t j = 0; j < shape->kept_size[1]; ++j, output += run) {
      const int8_t *first = input + i * shape->kept_step[0] + j * shape->kept_step[1];
      for (int32_t done = 0; done < run; done += TINYOPT_GROUP) {
        int32_t at = tinyopt_group_begin(done, run);
        int32_t totals[TINYOPT_GROUP];
        add_up(shape, first + at, second, totals);
        store(op, &scale, totals, output + at);
        store(op, &scale, totals + 4, output + at + second);
      }
    }
  }
}
