/* Depthwise convolution in portable C: four channels at a time, so that a tap is found once for all of them. The taps
 * that lie inside the image are found once per pixel, so the inner loop has no test. */
#include "depthwise_conv2d_s8.h"

/* Where one output pixel reads: the taps inside the image, and the offset of tap (0, 0) of channel 0. */
typedef struct {
  tinyopt_taps rows;
  tinyopt_taps columns;
  int32_t corner;
} window_t;

static int8_t finish(const tinyopt_depthwise_conv2d_s8 *op, int32_t sum, int32_t channel) {
  int32_t i = channel * op->per_channel;
  return tinyopt_requantize_s8(sum, op->multipliers[i], op->shifts[i], op->output_zero_point, op->clamp_low,
                               op->clamp_high);
}

/* Four channels of a layer with multiplier 1. */
static void convolve_4(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *image, const window_t *window,
                       int32_t channel, int8_t *output) {
  int32_t channels = op->input_channels;
  int32_t step = op->dilation_width * channels;
  int32_t row_step = op->dilation_height * op->input_width * channels;
  int32_t zero = op->input_zero_point;
  int32_t sum0 = op->bias[channel];
  int32_t sum1 = op->bias[channel + 1];
  int32_t sum2 = op->bias[channel + 2];
  int32_t sum3 = op->bias[channel + 3];
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
  output[0] = finish(op, sum0, channel);
  output[1] = finish(op, sum1, channel + 1);
  output[2] = finish(op, sum2, channel + 2);
  output[3] = finish(op, sum3, channel + 3);
}

/* One output channel, which reads the input channel `from`. */
static int8_t convolve_1(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *image, const window_t *window,
                         int32_t from, int32_t channel) {
  int32_t channels = op->input_channels * op->multiplier;
  int32_t step = op->dilation_width * op->input_channels;
  int32_t row_step = op->dilation_height * op->input_width * op->input_channels;
  int32_t zero = op->input_zero_point;
  int32_t sum = op->bias[channel];
  for (int32_t ky = window->rows.first; ky < window->rows.end; ++ky) {
    const int8_t *x = image + (window->corner + ky * row_step + window->columns.first * step + from);
    const int8_t *weights = op->weights + (ky * op->kernel_width + window->columns.first) * channels + channel;
    for (int32_t left = window->columns.end - window->columns.first; left > 0; --left) {
      sum = tinyopt_mac(sum, *x - zero, *weights);
      x += step;
      weights += channels;
    }
  }
  return finish(op, sum, channel);
}

static void convolve_pixel(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *image, const window_t *window,
                           int8_t *output) {
  int32_t from = 0;
  if (op->multiplier == 1) {
    for (; from + 3 < op->input_channels; from += 4) {
      convolve_4(op, image, window, from, output + from);
    }
  }
  int32_t channel = from;
  for (; from < op->input_channels; ++from) {
    for (int32_t m = 0; m < op->multiplier; ++m, ++channel) {
      output[channel] = convolve_1(op, image, window, from, channel);
    }
  }
}

void tinyopt_depthwise_conv2d_s8_ref(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t input_y = y * op->stride_height - op->pad_top;
      window_t window;
      window.rows = tinyopt_taps_inside(input_y, op->kernel_height, op->dilation_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t input_x = x * op->stride_width - op->pad_left;
        window.columns = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
        window.corner = (input_y * op->input_width + input_x) * op->input_channels;
        convolve_pixel(op, input, &window, output);
        output += op->input_channels * op->multiplier;
      }
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
