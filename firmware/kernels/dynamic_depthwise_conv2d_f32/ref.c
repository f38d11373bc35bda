/* Depthwise convolution with a run-time range in portable C: round the image, then as depthwise_conv2d_s8_ref, four
 * channels at a time, so that a tap is found once for all of them. */
#include "dynamic_depthwise_conv2d_f32.h"

/* Four channels of a layer with multiplier 1. */
static void sum_4(const tinyopt_dynamic_depthwise_conv2d_f32 *op, const int8_t *image,
                  const tinyopt_dynamic_window *window, int32_t channel, int32_t *sums) {
  int32_t channels = op->input_channels;
  int32_t step = op->dilation_width * channels;
  int32_t row_step = op->dilation_height * op->input_width * channels;
  int32_t zero = window->range.zero_point;
  int32_t sum0 = 0;
  int32_t sum1 = 0;
  int32_t sum2 = 0;
  int32_t sum3 = 0;
  for (int32_t ky = window->rows.first; ky < window->rows.end; ++ky) {
    const int8_t *x = image + (window->corner + ky * row_step + window->columns.first * step + channel);
    const int8_t *weights = op->weights + (ky * op->kernel_width + window->columns.first) * channels + channel;
    for (int32_t left = window->columns.end - window->columns.first; left > 0; --left) {
      sum0 = tinyopt_mac(sum0, x[0] - zero, weights[0]);
      sum1 = tinyopt_mac(sum1, x[1] - zero, weights[1]);
      sum2 = tinyopt_mac(sum2, x[2] - zero, weights[2]);
      sum3 = tinyopt_mac(sum3, x[3] - zero, weights[3]);
      x += step;
      weights += channels;
    }
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}

static void convolve_pixel(const tinyopt_dynamic_depthwise_conv2d_f32 *op, const int8_t *image,
                           const tinyopt_dynamic_window *window, float *output) {
  float scale = window->range.scale;
  int32_t from = 0;
  if (op->multiplier == 1) {
    for (; from + 3 < op->input_channels; from += 4) {
      int32_t sums[4];
      sum_4(op, image, window, from, sums);
      for (int32_t i = 0; i < 4; ++i) {
        output[from + i] = tinyopt_dynamic_depthwise_conv2d_f32_finish(op, sums[i], scale, from + i);
      }
    }
  }
  int32_t channel = from;
  for (; from < op->input_channels; ++from) {
    for (int32_t m = 0; m < op->multiplier; ++m, ++channel) {
      int32_t sum = tinyopt_dynamic_depthwise_conv2d_f32_sum(op, image, window, from, channel);
      output[channel] = tinyopt_dynamic_depthwise_conv2d_f32_finish(op, sum, scale, channel);
    }
  }
}

void tinyopt_dynamic_depthwise_conv2d_f32_ref(const tinyopt_dynamic_depthwise_conv2d_f32 *op, const float *input,
                                              float *output, void *scratch) {
  int32_t image_size = op->input_height * op->input_width * op->input_channels;
  int8_t *image = scratch;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    tinyopt_dynamic_window window;
    window.range = tinyopt_quantize_range(input, image_size, op->symmetric != 0, image);
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t input_y = y * op->stride_height - op->pad_top;
      window.rows = tinyopt_taps_inside(input_y, op->kernel_height, op->dilation_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t input_x = x * op->stride_width - op->pad_left;
        window.columns = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
        window.corner = (input_y * op->input_width + input_x) * op->input_channels;
        convolve_pixel(op, image, &window, output);
        output += op->input_channels * op->multiplier;
      }
    }
    input += image_size;
  }
}
