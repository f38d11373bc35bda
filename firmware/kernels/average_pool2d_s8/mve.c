/* Mean over windows with Helium: sums of eight channels, 16 bits each, and no division (see average_pool2d_s8.h). */
#include "average_pool2d_s8.h"
#include "mve.h"

enum { GROUP = 8 };

typedef tinyopt_average_pool2d_s8_window window_t;

#if TINYOPT_HAS_MVE

/* Sums of up to eight channels from `row` on. */
static inline int16x8_t add_up(const window_t *window, const int8_t *row, mve_pred16_t lanes) {
  int16x8_t sums = vdupq_n_s16(0);
  const int32_t step = window->step;
  for (int32_t i = window->height; i > 0; --i, row += window->pitch) {
    const int8_t *pixel = row;
    for (int32_t j = window->width; j > 0; --j, pixel += step) {
      sums = vaddq_s16(sums, vldrbq_z_s16(pixel, lanes));
    }
  }
  return sums;
}

static void means(const tinyopt_average_pool2d_s8 *op, const window_t *window, int8_t *output) {
  /* Of 2 * 2^14 times sum times reciprocal the upper half has this many fractional bits. */
  enum { BITS = TINYOPT_SHORT_RECIPROCAL_BITS + 15 - 32 };
  const int32_t reciprocal = tinyopt_short_reciprocal(window->height * window->width);
  const int16x8_t low = vdupq_n_s16((int16_t)op->clamp_low);
  const int16x8_t high = vdupq_n_s16((int16_t)op->clamp_high);
  const int8_t *from = window->from;
  for (int32_t left = op->channels; left > 0; left -= GROUP, from += GROUP, output += GROUP) {
    mve_pred16_t lanes = vctp16q((uint32_t)left);
    int16x8_t sums = add_up(window, from, lanes);
    int32x4_t even = vqdmulhq_n_s32(vshllbq_n_s16(sums, 14), reciprocal);
    int32x4_t odd = vqdmulhq_n_s32(vshlltq_n_s16(sums, 14), reciprocal);
    int16x8_t value = vrshrntq_n_s32(vrshrnbq_n_s32(sums, even, BITS), odd, BITS);
    vstrbq_p_s16(output, vminq_s16(vmaxq_s16(value, low), high), lanes);
  }
}

/* Four outputs from sums less the zero points: see tinyopt_fine_mean. */
static inline int32x4_t rescaled(const tinyopt_average_pool2d_s8 *op, int32x4_t sums,
                                 const tinyopt_long_reciprocal *reciprocal) {
  int32x4_t fine = vqdmulhq_n_s32(vshlq_n_s32(sums, 13), reciprocal->value);
  fine = vrshlq_n_s32(fine, -4 - reciprocal->bits);
  int32x4_t values = tinyopt_mve_requantize(fine, vdupq_n_s32(op->multiplier), vdupq_n_s32(op->shift));
  return tinyopt_mve_output(values, op->output_zero_point, vdupq_n_s32(op->clamp_low), vdupq_n_s32(op->clamp_high));
}

static void rescaled_means(const tinyopt_average_pool2d_s8 *op, const window_t *window, int8_t *output) {
  const int32_t count = window->height * window->width;
  const int32_t zero_point = count * op->input_zero_point;
  const tinyopt_long_reciprocal reciprocal = tinyopt_long_reciprocal_of(count);
  const int8_t *from = window->from;
  for (int32_t left = op->channels; left > 0; left -= GROUP, from += GROUP, output += GROUP) {
    mve_pred16_t lanes = vctp16q((uint32_t)left);
    int16x8_t sums = add_up(window, from, lanes);
    int32x4_t even = rescaled(op, vsubq_n_s32(vmovlbq_s16(sums), zero_point), &reciprocal);
    int32x4_t odd = rescaled(op, vsubq_n_s32(vmovltq_s16(sums), zero_point), &reciprocal);
    vstrbq_p_s16(output, vmovntq_s32(vmovnbq_s32(sums, even), odd), lanes);
  }
}

#else /* the same computation in C, for tests on other machines */

static int32_t sum_of(const window_t *window, int32_t c) {
  int32_t sum = 0;
  for (int32_t i = 0; i < window->height; ++i) {
    for (int32_t j = 0; j < window->width; ++j) {
      sum += window->from[i * window->pitch + j * window->step + c];
    }
  }
  return sum;
}

static void means(const tinyopt_average_pool2d_s8 *op, const window_t *window, int8_t *output) {
  const int32_t reciprocal = tinyopt_short_reciprocal(window->height * window->width);
  for (int32_t c = 0; c < op->channels; ++c) {
    int64_t product = (int64_t)sum_of(window, c) * reciprocal;
    int64_t mean = (product + (1 << (TINYOPT_SHORT_RECIPROCAL_BITS - 1))) >> TINYOPT_SHORT_RECIPROCAL_BITS;
    output[c] = (int8_t)tinyopt_clamp((int32_t)mean, op->clamp_low, op->clamp_high);
  }
}

static void rescaled_means(const tinyopt_average_pool2d_s8 *op, const window_t *window, int8_t *output) {
  const int32_t count = window->height * window->width;
  const tinyopt_long_reciprocal reciprocal = tinyopt_long_reciprocal_of(count);
  for (int32_t c = 0; c < op->channels; ++c) {
    int32_t fine = tinyopt_fine_mean(sum_of(window, c) - count * op->input_zero_point, &reciprocal);
    output[c] =
        tinyopt_requantize_s8(fine, op->multiplier, op->shift, op->output_zero_point, op->clamp_low, op->clamp_high);
  }
}

#endif

void tinyopt_average_pool2d_s8_mve(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  tinyopt_average_pool2d_s8_windows(op, input, output, means);
}

void tinyopt_average_pool2d_s8_rescale_mve(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  tinyopt_average_pool2d_s8_windows(op, input, output, rescaled_means);
}
