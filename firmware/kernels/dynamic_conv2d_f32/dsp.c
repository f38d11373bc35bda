/* Convolution with a run-time range and the Arm DSP extension: round the image, then two pixels by two output channels
 * at a time. The patches of two pixels are widened to int16 columns once, less the zero point, in the order in which
 * SXTB16 widens four weights: of every four taps 0 and 2, then 1 and 3. */
#include "dsp.h"
#include "dynamic_conv2d_f32.h"

/* One or two pixels: their columns, and their outputs of the group's first channel. */
typedef struct {
  const uint32_t *column[2];
  float *output[2];
  int32_t count;
} pixels_t;

/* `size` taps as pairs of int16, padded to a multiple of four with values that meet weights of zero. */
static void widen(const int8_t *patch, int32_t size, int32_t zero_point, uint32_t *column) {
  uint32_t offset = tinyopt_pair(-zero_point, -zero_point);
  for (; size > 0; size -= 4, patch += 4, column += 2) {
    uint32_t word = size < 4 ? tinyopt_load_s8_tail(patch, size) : tinyopt_load_s8x4(patch);
    column[0] = tinyopt_sxtab16(offset, word);
    column[1] = tinyopt_sxtab16_ror8(offset, word);
  }
}

/* Two pixels by two channels; sums: pixel 0 channels 0 and 1, pixel 1 channels 0 and 1. `words`: of four taps each. */
static TINYOPT_NEVER_INLINE void sum_2x2(const uint32_t *x0, const uint32_t *x1, const int8_t *weights, int32_t words,
                                         int32_t *sums) {
  int32_t sum0 = 0;
  int32_t sum1 = 0;
  int32_t sum2 = 0;
  int32_t sum3 = 0;
  for (const uint32_t *end = x0 + 2 * words; x0 != end; x0 += 2, x1 += 2, weights += 8) {
    uint32_t first = tinyopt_load_s8x4(weights);
    uint32_t second = tinyopt_load_s8x4(weights + 4);
    uint32_t first_pair = tinyopt_sxtb16(first);
    uint32_t second_pair = tinyopt_sxtb16(second);
    sum0 = tinyopt_smlad(x0[0], first_pair, sum0);
    sum1 = tinyopt_smlad(x0[0], second_pair, sum1);
    sum2 = tinyopt_smlad(x1[0], first_pair, sum2);
    sum3 = tinyopt_smlad(x1[0], second_pair, sum3);
    first_pair = tinyopt_sxtb16_ror8(first);
    second_pair = tinyopt_sxtb16_ror8(second);
    sum0 = tinyopt_smlad(x0[1], first_pair, sum0);
    sum1 = tinyopt_smlad(x0[1], second_pair, sum1);
    sum2 = tinyopt_smlad(x1[1], first_pair, sum2);
    sum3 = tinyopt_smlad(x1[1], second_pair, sum3);
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}

/* One pixel by one channel whose words of weights are `step` bytes apart. */
static int32_t sum_1x1(const uint32_t *x, const int8_t *weights, int32_t words, int32_t step) {
  int32_t sum = 0;
  for (const uint32_t *end = x + 2 * words; x != end; x += 2, weights += step) {
    uint32_t word = tinyopt_load_s8x4(weights);
    sum = tinyopt_smlad(x[0], tinyopt_sxtb16(word), sum);
    sum = tinyopt_smlad(x[1], tinyopt_sxtb16_ror8(word), sum);
  }
  return sum;
}

/* All channels of one group. */
static void convolve_group(const tinyopt_dynamic_conv2d_f32 *op, float scale, const pixels_t *pixels, int32_t group) {
  int32_t words = (tinyopt_conv2d_s8_patch_size(&op->window) + 3) / 4;
  int32_t channels = op->window.output_channels / op->window.groups;
  int32_t channel = group * channels;
  const int8_t *weights = op->window.weights + channel * 4 * words;
  int32_t at = 0;
  for (; at + 1 < channels; at += 2, weights += 8 * words) {
    int32_t sums[4];
    if (pixels->count == 2) {
      sum_2x2(pixels->column[0], pixels->column[1], weights, words, sums);
    } else {
      sums[0] = sum_1x1(pixels->column[0], weights, words, 8);
      sums[1] = sum_1x1(pixels->column[0], weights + 4, words, 8);
    }
    for (int32_t i = 0; i < pixels->count; ++i) {
      float *output = pixels->output[i] + at;
      output[0] = tinyopt_dynamic_conv2d_f32_finish(op, sums[2 * i], scale, channel + at);
      output[1] = tinyopt_dynamic_conv2d_f32_finish(op, sums[2 * i + 1], scale, channel + at + 1);
    }
  }
  if (at < channels) {
    for (int32_t i = 0; i < pixels->count; ++i) {
      int32_t sum = sum_1x1(pixels->column[i], weights, words, 4);
      pixels->output[i][at] = tinyopt_dynamic_conv2d_f32_finish(op, sum, scale, channel + at);
    }
  }
}

void tinyopt_dynamic_conv2d_f32_dsp(const tinyopt_dynamic_conv2d_f32 *op, const float *input, float *output,
                                    void *scratch) {
  tinyopt_conv2d_s8 window = op->window;
  int32_t size = tinyopt_conv2d_s8_patch_size(&window);
  int32_t pairs = (size + 3) / 4 * 2;
  int32_t channels = window.output_channels / window.groups;
  int32_t image_size = window.input_height * window.input_width * window.input_channels;
  uint32_t *columns = scratch;
  int8_t *image = (int8_t *)(columns + 2 * pairs);
  int8_t *gathered = image + image_size;
  for (int32_t batch = 0; batch < window.batches; ++batch) {
    tinyopt_range range = tinyopt_quantize_range(input, image_size, op->symmetric != 0, image);
    window.input_zero_point = range.zero_point;
    int32_t y = 0;
    int32_t x = 0;
    for (int32_t left = window.output_height * window.output_width; left > 0; left -= 2) {
      int32_t at_y[2];
      int32_t at_x[2];
      pixels_t pixels;
      pixels.count = tinyopt_min(2, left);
      for (int32_t i = 0; i < pixels.count; ++i) {
        at_y[i] = y;
        at_x[i] = x;
        if (++x == window.output_width) {
          x = 0;
          ++y;
        }
      }
      for (int32_t group = 0; group < window.groups; ++group) {
        for (int32_t i = 0; i < pixels.count; ++i) {
          const int8_t *patch = gathered;
          if (window.contiguous) {
            patch = tinyopt_conv2d_s8_patch_at(&window, image, at_y[i], at_x[i]);
          } else {
            tinyopt_conv2d_s8_gather(&window, image, at_y[i], at_x[i], group, gathered);
          }
          widen(patch, size, range.zero_point, columns + i * pairs);
          pixels.column[i] = columns + i * pairs;
          pixels.output[i] = output + i * window.output_channels + group * channels;
        }
        convolve_group(op, range.scale, &pixels, group);
      }
      output += pixels.count * window.output_channels;
    }
    input += image_size;
  }
}
