/* Convolution with a run-time range in portable C: round the image, then as conv2d_s8_ref, patch by patch and two
 * channels at a time. */
#include "dot.h"
#include "dynamic_conv2d_f32.h"

/* What the sum of a channel begins with, so that raw integers can be multiplied. */
static int32_t begin(const tinyopt_dynamic_conv2d_f32 *op, int32_t zero_point, int32_t channel) {
  return op->symmetric ? 0 : -zero_point * op->totals[channel];
}

/* Output channels first..end-1 of one pixel; `output`: the pixel's channel 0. */
static void convolve_patch(const tinyopt_dynamic_conv2d_f32 *op, const tinyopt_range *range, const int8_t *patch,
                           int32_t size, int32_t first, int32_t end, float *output) {
  const int8_t *weights = op->window.weights + first * size;
  int32_t channel = first;
  for (; channel + 1 < end; channel += 2) {
    int32_t sums[2] = {begin(op, range->zero_point, channel), begin(op, range->zero_point, channel + 1)};
    tinyopt_dot_pair_s8(sums, patch, weights, weights + size, size);
    output[channel] = tinyopt_dynamic_conv2d_f32_finish(op, sums[0], range->scale, channel);
    output[channel + 1] = tinyopt_dynamic_conv2d_f32_finish(op, sums[1], range->scale, channel + 1);
    weights += 2 * size;
  }
  if (channel < end) {
    int32_t sum = begin(op, range->zero_point, channel);
    sum = tinyopt_dot_s8(sum, patch, weights, size);
    output[channel] = tinyopt_dynamic_conv2d_f32_finish(op, sum, range->scale, channel);
  }
}

void tinyopt_dynamic_conv2d_f32_ref(const tinyopt_dynamic_conv2d_f32 *op, const float *input, float *output,
                                    void *scratch) {
  tinyopt_conv2d_s8 window = op->window;
  int32_t size = tinyopt_conv2d_s8_patch_size(&window);
  int32_t channels = window.output_channels / window.groups;
  int32_t image_size = window.input_height * window.input_width * window.input_channels;
  int8_t *image = scratch;
  int8_t *gathered = image + image_size;
  for (int32_t batch = 0; batch < window.batches; ++batch) {
    tinyopt_range range = tinyopt_quantize_range(input, image_size, op->symmetric != 0, image);
    window.input_zero_point = range.zero_point;
    for (int32_t y = 0; y < window.output_height; ++y) {
      for (int32_t x = 0; x < window.output_width; ++x) {
        for (int32_t group = 0; group < window.groups; ++group) {
          const int8_t *patch = gathered;
          if (window.contiguous) {
            patch = tinyopt_conv2d_s8_patch_at(&window, image, y, x);
          } else {
            tinyopt_conv2d_s8_gather(&window, image, y, x, group, gathered);
          }
          convolve_patch(op, &range, patch, size, group * channels, (group + 1) * channels, output);
        }
        output += window.output_channels;
      }
    }
    input += image_size;
  }
}
