/* Depthwise convolution with the Arm DSP extension: four channels at a time, each with its own sum; SXTAB16 widens
 * the activations and subtracts their zero point in one instruction. */
#include "depthwise_conv2d_s8.h"
#include "dsp.h"

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

static void convolve_4(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *image, const window_t *window,
                       int32_t channel, int8_t *output) {
  int32_t channels = op->input_channels;
  int32_t step = op->dilation_width * channels;
  int32_t row_step = op->dilation_height * op->input_width * channels;
  uint32_t offset = tinyopt_pair(-op->input_zero_point, -op->input_zero_point);
  const int32_t *bias = op->bias + channel;
  int32_t sum0 = bias[0];
  int32_t sum1 = bias[1];
  int32_t sum2 = bias[2];
  int32_t sum3 = bias[3];
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
  output[0] = finish(op, sum0, channel);
  output[1] = finish(op, sum1, channel + 1);
  output[2] = finish(op, sum2, channel + 2);
  output[3] = finish(op, sum3, channel + 3);
}

static void convolve_1(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *image, const window_t *window,
                       int32_t channel, int8_t *output) {
  int32_t channels = op->input_channels;
  int32_t sum = op->bias[channel];
  for (int32_t ky = window->rows.first; ky < window->rows.end; ++ky) {
    int32_t row = window->corner + ky * op->dilation_height * op->input_width * channels + channel;
    for (int32_t kx = window->columns.first; kx < window->columns.end; ++kx) {
      int32_t x = image[row + kx * op->dilation_width * channels] - op->input_zero_point;
      sum = tinyopt_mac(sum, x, op->weights[(ky * op->kernel_width + kx) * channels + channel]);
    }
  }
  *output = finish(op, sum, channel);
}

void tinyopt_depthwise_conv2d_s8_dsp(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output) {
  int32_t channels = op->input_channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t input_y = y * op->stride_height - op->pad_top;
      window_t window;
      window.rows = tinyopt_taps_inside(input_y, op->kernel_height, op->dilation_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t input_x = x * op->stride_width - op->pad_left;
        int32_t channel = 0;
        window.columns = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
        window.corner = (input_y * op->input_width + input_x) * channels;
        for (; channel + 3 < channels; channel += 4) {
          convolve_4(op, input, &window, channel, output + channel);
        }
        for (; channel < channels; ++channel) {
          convolve_1(op, input, &window, channel, output + channel);
        }
        output += channels;
      }
    }
    input += op->input_height * op->input_width * channels;
  }
}
