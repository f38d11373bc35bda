/* Depthwise convolution with a run-time range and the Arm DSP extension: round the image, then four channels at a time;
 * SXTAB16 widens the activations and subtracts their zero point in one instruction. */
#include "dsp.h"
#include "dynamic_depthwise_conv2d_f32.h"

static void convolve_4(const tinyopt_dynamic_depthwise_conv2d_f32 *op, const int8_t *image,
                       const tinyopt_dynamic_window *window, int32_t channel, float *output) {
  int32_t channels = op->input_channels;
  int32_t step = op->dilation_width * channels;
  int32_t row_step = op->dilation_height * op->input_width * channels;
  uint32_t offset = tinyopt_pair(-window->range.zero_point, -window->range.zero_point);
  int32_t sum0 = 0;
  int32_t sum1 = 0;
  int32_t sum2 = 0;
  int32_t sum3 = 0;
  for (int32_t ky = window->rows.first; ky < window->rows.end; ++ky) {
    const int8_t *x = image + (window->corner + ky * row_step + window->columns.first * step + channel);
    const int8_t *weights = op->weights + (ky * op->kernel_width + window->columns.first) * channels + channel;
    for (int32_t left = window->columns.end - window->columns.first; left > 0; --left) {
      uint32_t x_word = tinyopt_load_s8x4(x);
      uint32_t weights_word = tinyopt_load_s8x4(weights);
      uint32_t x_even = tinyopt_sxtab16(offset, x_word);
      uint32_t weights_even = tinyopt_sxtb16(weights_word);
      sum0 = tinyopt_smlabb(x_even, weights_even, sum0);
      sum2 = tinyopt_smlatt(x_even, weights_even, sum2);
      uint32_t x_odd = tinyopt_sxtab16_ror8(offset, x_word);
      uint32_t weights_odd = tinyopt_sxtb16_ror8(weights_word);
      sum1 = tinyopt_smlabb(x_odd, weights_odd, sum1);
      sum3 = tinyopt_smlatt(x_odd, weights_odd, sum3);
      x += step;
      weights += channels;
    }
  }
  float scale = window->range.scale;
  output[0] = tinyopt_dynamic_depthwise_conv2d_f32_finish(op, sum0, scale, channel);
  output[1] = tinyopt_dynamic_depthwise_conv2d_f32_finish(op, sum1, scale, channel + 1);
  output[2] = tinyopt_dynamic_depthwise_conv2d_f32_finish(op, sum2, scale, channel + 2);
  output[3] = tinyopt_dynamic_depthwise_conv2d_f32_finish(op, sum3, scale, channel + 3);
}

static void convolve_pixel(const tinyopt_dynamic_depthwise_conv2d_f32 *op, const int8_t *image,
                           const tinyopt_dynamic_window *window, float *output) {
  int32_t channel = 0;
  for (; channel + 3 < op->input_channels; channel += 4) {
    convolve_4(op, image, window, channel, output + channel);
  }
  for (; channel < op->input_channels; ++channel) {
    int32_t sum = tinyopt_dynamic_depthwise_conv2d_f32_sum(op, image, window, channel, channel);
    output[channel] = tinyopt_dynamic_depthwise_conv2d_f32_finish(op, sum, window->range.scale, channel);
  }
}

void tinyopt_dynamic_depthwise_conv2d_f32_dsp(const tinyopt_dynamic_depthwise_conv2d_f32 *op, const float *input,
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
        output += op->input_channels;
      }
    }
    input += image_size;
  }
}
