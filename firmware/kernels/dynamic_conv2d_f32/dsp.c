/* Convolution with a run-time range and the Arm DSP extension: round the image, then two pixels by two output channels
 * at a time. */
#include "dynamic_conv2d_f32.h"
#include "pairs_dsp.h"

/* Where the patches of one or two pixels are, and their outputs of the group's first channel. */
typedef struct {
  const int8_t *patch[2];
  float *output[2];
  int32_t count;
} pixels_t;

/* Outputs `channel` and the next of all pixels; `at`: the channel counted in its group. */
static void convolve_pair(const tinyopt_dynamic_conv2d_f32 *op, const tinyopt_range *range, const pixels_t *pixels,
                          const int8_t *weights, int32_t size, int32_t channel, int32_t at) {
  int32_t first = tinyopt_dynamic_conv2d_f32_begin(op, range->zero_point, channel);
  int32_t second = tinyopt_dynamic_conv2d_f32_begin(op, range->zero_point, channel + 1);
  int32_t sums[4] = {first, second, first, second};
  if (pixels->count == 2) {
    tinyopt_sums_2x2(pixels->patch[0], pixels->patch[1], weights, size, sums);
  } else {
    tinyopt_sums_1x2(pixels->patch[0], weights, size, sums);
  }
  for (int32_t i = 0; i < pixels->count; ++i) {
    float *output = pixels->output[i] + at;
    output[0] = tinyopt_dynamic_conv2d_f32_finish(op, sums[2 * i], range->scale, channel);
    output[1] = tinyopt_dynamic_conv2d_f32_finish(op, sums[2 * i + 1], range->scale, channel + 1);
  }
}

/* All channels of one group. */
static void convolve_group(const tinyopt_dynamic_conv2d_f32 *op, const tinyopt_range *range, const pixels_t *pixels,
                           int32_t group) {
  int32_t size = tinyopt_conv2d_s8_patch_size(&op->window);
  int32_t padded = (size + 3) & ~3;
  int32_t channels = op->window.output_channels / op->window.groups;
  int32_t channel = group * channels;
  const int8_t *weights = op->window.weights + channel * padded;
  int32_t at = 0;
  for (; at + 1 < channels; at += 2) {
    convolve_pair(op, range, pixels, weights, size, channel + at, at);
    weights += 2 * padded;
  }
  if (at < channels) {
    for (int32_t i = 0; i < pixels->count; ++i) {
      int32_t sum = tinyopt_dynamic_conv2d_f32_begin(op, range->zero_point, channel + at);
      sum = tinyopt_sums_1x1(pixels->patch[i], weights, size, sum);
      pixels->output[i][at] = tinyopt_dynamic_conv2d_f32_finish(op, sum, range->scale, channel + at);
    }
  }
}

void tinyopt_dynamic_conv2d_f32_dsp(const tinyopt_dynamic_conv2d_f32 *op, const float *input, float *output,
                                    void *scratch) {
  tinyopt_conv2d_s8 window = op->window;
  int32_t padded = (tinyopt_conv2d_s8_patch_size(&window) + 3) & ~3;
  int32_t channels = window.output_channels / window.groups;
  int32_t image_size = window.input_height * window.input_width * window.input_channels;
  int8_t *image = scratch;
  for (int32_t batch = 0; batch < window.batches; ++batch) {
    tinyopt_range range = tinyopt_quantize_range(input, image_size, op->totals == NULL, image);
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
          int8_t *patch = image + image_size + i * padded;
          pixels.patch[i] = patch;
          pixels.output[i] = output + i * window.output_channels + group * channels;
          if (window.contiguous) {
            pixels.patch[i] = tinyopt_conv2d_s8_patch_at(&window, image, at_y[i], at_x[i]);
          } else {
            tinyopt_conv2d_s8_gather(&window, image, at_y[i], at_x[i], group, patch);
          }
        }
        convolve_group(op, &range, &pixels, group);
      }
      output += pixels.count * window.output_channels;
    }
    input += image_size;
  }
}
