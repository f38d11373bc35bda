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

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_flush_4(void *sums, bool more) {
  (void)sums;
  (void)more;
}

static inline int8_t *tinyopt_sparse_columns_4(const int8_t *const *pixels, int32_t taps, int8_t *columns) {
  const int8_t *x0 = pixels[0];
  const int8_t *x1 = pixels[1];
  const int8_t *x2 = pixels[2];
  const int8_t *x3 = pixels[3];
  uint32_t *words = (uint32_t *)(void *)columns;
  for (; taps >= 4; taps -= 4, words += 8, x0 += 4, x1 += 4, x2 += 4, x3 += 4) { /* four taps of pixels a, b, c, d */
    uint32_t a = tinyopt_load_s8x4(x0);
    uint32_t c = tinyopt_load_s8x4(x2);
    uint32_t a_even = tinyopt_sxtb16(a);
    uint32_t c_even = tinyopt_sxtb16(c);
    uint32_t a_odd = tinyopt_sxtb16_ror8(a);
    uint32_t c_odd = tinyopt_sxtb16_ror8(c);
    words[0] = tinyopt_pack_low(a_even, c_even);
    words[2] = tinyopt_pack_low(a_odd, c_odd);
    words[4] = tinyopt_pack_high(a_even, c_even);
    words[6] = tinyopt_pack_high(a_odd, c_odd);
    uint32_t b = tinyopt_load_s8x4(x1);
    uint32_t d = tinyopt_load_s8x4(x3);
    uint32_t b_even = tinyopt_sxtb16(b);
    uint32_t d_even = tinyopt_sxtb16(d);
    uint32_t b_odd = tinyopt_sxtb16_ror8(b);
    uint32_t d_odd = tinyopt_sxtb16_ror8(d);
    words[1] = tinyopt_pack_low(b_even, d_even);
    words[3] = tinyopt_pack_low(b_odd, d_odd);
    words[5] = tinyopt_pack_high(b_even, d_even);
    words[7] = tinyopt_pack_high(b_odd, d_odd);
  }
  for (; taps > 0; --taps, words += 2) {
    words[0] = tinyopt_pair(*x0++, *x2++);
    words[1] = tinyopt_pair(*x1++, *x3++);
  }
  return (int8_t *)words;
}

/* One channel of `count` pixels, saturated to int8. offset: 2 * output zero point + 1. */
static inline void tinyopt_sparse_finish_4(const tinyopt_conv2d_s8 *op, const tinyopt_sparse_sums_4 *sums,
                                           int32_t channel, int32_t count, int32_t offset, int8_t *output) {
  int32_t i = channel * op->per_channel;
  int32_t multiplier = op->multipliers[i];
  int32_t right = -op->shifts[i] - 1;
  int32_t step = op->output_channels;
  output += channel;
  output[0] = tinyopt_requantize_doubled_s8(2 * sums->sum0, multiplier, right, offset);
  if (count == TINYOPT_SPARSE_FOUR) { /* the usual case, without asking for every pixel */
    output[step] = tinyopt_requantize_doubled_s8(2 * sums->sum1, multiplier, right, offset);
    output[2 * step] = tinyopt_requantize_doubled_s8(2 * sums->sum2, multiplier, right, offset);
    output[3 * step] = tinyopt_requantize_doubled_s8(2 * sums->sum3, multiplier, right, offset);
    return;
  }
  if (count > 1) {
    output[step] = tinyopt_requantize_doubled_s8(2 * sums->sum1, multiplier, right, offset);
  }
  if (count > 2) {
    output[2 * step] = tinyopt_requantize_doubled_s8(2 * sums->sum2, multiplier, right, offset);
  }
}

/* What is left to do where the activation is narrower than int8. */
static inline void tinyopt_sparse_clamp(const tinyopt_conv2d_s8 *op, int32_t count, int8_t *output) {
  if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
    for (int32_t i = 0; i < count * op->output_channels; ++i) {
      output[i] = (int8_t)tinyopt_clamp(output[i], op->clamp_low, op->clamp_high);
    }
  }
}

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_channels_4(const tinyopt_conv2d_s8 *op, const int8_t *columns,
                                                            int32_t count, int8_t *output, tinyopt_sparse_row *row_of) {
  const int8_t *stream = op->weights;
  int32_t taps = op->kernel_height * op->kernel_width * op->input_channels;
  int32_t offset = 2 * op->output_zero_point + 1;
  for (int32_t channel = 0; channel < op->output_channels; ++channel) {
    int32_t bias = op->bias[channel];
    tinyopt_sparse_sums_4 sums = {bias, bias, bias, bias};
    tinyopt_sparse_walk walk = {columns, taps, 8, tinyopt_sparse_add_4, tinyopt_sparse_flush_4, &sums};
    stream = row_of(&walk, stream);
    tinyopt_sparse_finish_4(op, &sums, channel, count, offset, output);
  }
  tinyopt_sparse_clamp(op, count, output);
}

#endif
