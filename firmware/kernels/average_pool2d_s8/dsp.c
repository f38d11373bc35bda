/* Mean over windows with the Arm DSP extension: sums of eight channels (see sums_dsp.h), and no division for any of
 * them (see average_pool2d_s8.h). */
#include "average_pool2d_s8.h"
#include "sums_dsp.h"

typedef tinyopt_average_pool2d_s8_window window_t;

/* Sums of a group that begins `c` channels behind the window's first. */
static TINYOPT_ALWAYS_INLINE tinyopt_group_sums add_up(const window_t *window, int32_t c, int32_t second) {
  tinyopt_group_sums sums = {0, 0, 0, 0};
  const int8_t *row = window->from + c;
  for (int32_t rows = window->height; rows > 0; --rows, row += window->pitch) {
    tinyopt_group_add(&sums, row, window->width, window->step, second);
  }
  return sums;
}

/* SMLAWB of the reciprocal and a sum is the mean with SHORT_BITS fractional bits. */
enum { SHORT_BITS = TINYOPT_SHORT_RECIPROCAL_BITS - 16 };

/* Four means in a word. */
static inline uint32_t means_of(uint32_t even, uint32_t odd, int32_t reciprocal) {
  const int32_t half = 1 << (SHORT_BITS - 1);
  uint32_t first = (uint32_t)(tinyopt_smlawb(reciprocal, even, half) >> SHORT_BITS);
  uint32_t second = (uint32_t)(tinyopt_smlawb(reciprocal, odd, half) >> SHORT_BITS);
  uint32_t third = (uint32_t)(tinyopt_smlawt(reciprocal, even, half) >> SHORT_BITS);
  uint32_t fourth = (uint32_t)(tinyopt_smlawt(reciprocal, odd, half) >> SHORT_BITS);
  return (first & 255u) | (second & 255u) << 8 | (third & 255u) << 16 | fourth << 24;
}

TINYOPT_NEVER_INLINE static uint32_t clamped(const tinyopt_average_pool2d_s8 *op, uint32_t means) {
  uint32_t low = 0x01010101u * (uint32_t)(uint8_t)op->clamp_low;
  uint32_t high = 0x01010101u * (uint32_t)(uint8_t)op->clamp_high;
  return tinyopt_min_s8x4(tinyopt_max_s8x4(means, low), high);
}

static void means(const tinyopt_average_pool2d_s8 *op, const window_t *window, int8_t *output) {
  const bool clamps = op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX;
  const int32_t channels = op->channels;
  const int32_t second = tinyopt_group_second(channels);
  const int32_t reciprocal = tinyopt_short_reciprocal(window->height * window->width);
  for (int32_t done = 0; done < channels; done += TINYOPT_GROUP) {
    int32_t c = tinyopt_group_begin(done, channels);
    tinyopt_group_sums sums = add_up(window, c, second);
    uint32_t first_means = means_of(sums.even, sums.odd, reciprocal);
    uint32_t second_means = means_of(sums.second_even, sums.second_odd, reciprocal);
    if (clamps) {
      first_means = clamped(op, first_means);
      second_means = clamped(op, second_means);
    }
    memcpy(output + c, &first_means, sizeof first_means);
    memcpy(output + c + second, &second_means, sizeof second_means);
  }
}

static void rescaled_means(const tinyopt_average_pool2d_s8 *op, const window_t *window, int8_t *output) {
  const int32_t channels = op->channels;
  const int32_t second = tinyopt_group_second(channels);
  const int32_t count = window->height * window->width;
  const int32_t zero_point = count * op->input_zero_point;
  const int32_t multiplier = op->multiplier;
  const int32_t right = -op->shift - 1;
  const int32_t offset = 2 * op->output_zero_point + 1;
  const tinyopt_long_reciprocal reciprocal = tinyopt_long_reciprocal_of(count);
  for (int32_t done = 0; done < channels; done += TINYOPT_GROUP) {
    int32_t c = tinyopt_group_begin(done, channels);
    tinyopt_group_sums sums = add_up(window, c, second);
    const uint32_t pairs[4] = {sums.even, sums.odd, sums.second_even, sums.second_odd};
    for (int32_t i = 0; i < 4; ++i) {
      int8_t *to = output + c + (i & 1) + (i < 2 ? 0 : second);
      for (int32_t half = 0; half < 2; ++half) {
        int32_t sum = (half ? tinyopt_high_half(pairs[i]) : tinyopt_low_half(pairs[i])) - zero_point;
        int32_t fine = tinyopt_fine_mean(sum, &reciprocal);
        int32_t value = tinyopt_requantize_doubled_s8(2 * fine, multiplier, right, offset);
        to[2 * half] = (int8_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
      }
    }
  }
}

void tinyopt_average_pool2d_s8_dsp(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  tinyopt_average_pool2d_s8_windows(op, input, output, means);
}

void tinyopt_average_pool2d_s8_rescale_dsp(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  tinyopt_average_pool2d_s8_windows(op, input, output, rescaled_means);
}
