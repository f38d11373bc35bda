/* Columns of four pixels for the Arm DSP extension: per tap, four activations as int16, the pairs (0, 2) and (1, 3). A
 * weight meets each in an SMLABB or SMLATB. */
#ifndef TINYOPT_SPARSE_CONV2D_FOUR_PIXELS_H
#define TINYOPT_SPARSE_CONV2D_FOUR_PIXELS_H

#include "dsp.h"
#include "pixels.h"

enum { TINYOPT_SPARSE_FOUR = 4 };

typedef struct {
  int32_t sum0, sum1, sum2, sum3; /* of the pixels */
} tinyopt_sparse_sums_4;

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_add_4(void *sums, const int8_t *column, int32_t weight) {
  tinyopt_sparse_sums_4 *s = sums;
  const uint32_t *words = (const uint32_t *)(const void *)column;
  uint32_t even = words[0];
  uint32_t odd = words[1];
  s->sum0 = tinyopt_smlabb(even, (uint32_t)weight, s->sum0);
  s->sum1 = tinyopt_smlabb(odd, (uint32_t)weight, s->sum1);
  s->sum2 = tinyopt_smlatb(even, (uint32_t)weight, s->sum2);
  s->sum3 = tinyopt_smlatb(odd, (uint32_t)weight, s->sum3);
}

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_flush_4(void *sums) {
  (void)sums;
}

/* Four taps of four pixels. x: a word of each. */
static inline void tinyopt_sparse_transpose_4(const uint32_t *x, uint32_t *words) {
  uint32_t even[4];
  uint32_t odd[4];
  for (int32_t i = 0; i < 4; ++i) {
    even[i] = tinyopt_sxtb16(x[i]);
    odd[i] = tinyopt_sxtb16_ror8(x[i]);
  }
  words[0] = tinyopt_pack_low(even[0], even[2]);
  words[1] = tinyopt_pack_low(even[1], even[3]);
  words[2] = tinyopt_pack_low(odd[0], odd[2]);
  words[3] = tinyopt_pack_low(odd[1], odd[3]);
  words[4] = tinyopt_pack_high(even[0], even[2]);
  words[5] = tinyopt_pack_high(even[1], even[3]);
  words[6] = tinyopt_pack_high(odd[0], odd[2]);
  words[7] = tinyopt_pack_high(odd[1], odd[3]);
}

static TINYOPT_NEVER_INLINE int8_t *tinyopt_sparse_columns_4(const int8_t *const *pixels, int32_t taps,
                                                             int8_t *columns) {
  const int8_t *x0 = pixels[0];
  const int8_t *x1 = pixels[1];
  const int8_t *x2 = pixels[2];
  const int8_t *x3 = pixels[3];
  uint32_t *words = (uint32_t *)(void *)columns;
  for (; taps >= 4; taps -= 4, words += 8, x0 += 4, x1 += 4, x2 += 4, x3 += 4) {
    uint32_t x[4] = {tinyopt_load_s8x4(x0), tinyopt_load_s8x4(x1), tinyopt_load_s8x4(x2), tinyopt_load_s8x4(x3)};
    tinyopt_sparse_transpose_4(x, words);
  }
  for (; taps > 0; --taps, words += 2) {
    words[0] = tinyopt_pair(*x0++, *x2++);
    words[1] = tinyopt_pair(*x1++, *x3++);
  }
  return (int8_t *)words;
}

static inline int8_t tinyopt_sparse_output(const tinyopt_conv2d_s8 *op, int32_t sum, int32_t multiplier,
                                           int32_t right) {
  int8_t value = tinyopt_requantize_doubled_s8(2 * sum, multiplier, right, 2 * op->output_zero_point + 1);
  return (int8_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
}

/* One channel of `count` pixels. */
static inline void tinyopt_sparse_finish_4(const tinyopt_conv2d_s8 *op, const tinyopt_sparse_sums_4 *sums,
                                           int32_t channel, int32_t count, int8_t *output) {
  int32_t i = channel * op->per_channel;
  int32_t multiplier = op->multipliers[i];
  int32_t right = -op->shifts[i] - 1;
  int32_t step = op->output_channels;
  output += channel;
  *output = tinyopt_sparse_output(op, sums->sum0, multiplier, right);
  if (count > 1) {
    output[step] = tinyopt_sparse_output(op, sums->sum1, multiplier, right);
  }
  if (count > 2) {
    output[2 * step] = tinyopt_sparse_output(op, sums->sum2, multiplier, right);
  }
  if (count > 3) {
    output[3 * step] = tinyopt_sparse_output(op, sums->sum3, multiplier, right);
  }
}

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_channels_4(const tinyopt_conv2d_s8 *op, const int8_t *columns,
                                                            int32_t count, int8_t *output, tinyopt_sparse_row *row_of) {
  const int8_t *stream = op->weights;
  int32_t taps = op->kernel_height * op->kernel_width * op->input_channels;
  for (int32_t channel = 0; channel < op->output_channels; ++channel) {
    int32_t bias = op->bias[channel];
    tinyopt_sparse_sums_4 sums = {bias, bias, bias, bias};
    tinyopt_sparse_walk walk = {columns, taps, 8, tinyopt_sparse_add_4, tinyopt_sparse_flush_4, &sums};
    stream = row_of(&walk, stream);
    tinyopt_sparse_finish_4(op, &sums, channel, count, output);
  }
}

#endif
