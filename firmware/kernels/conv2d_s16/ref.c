/* Convolution of int16 activations in portable C. The taps that lie inside the image are found once per pixel. */
#include "conv2d_s16.h"

static int64_t dot(int64_t sum, const int16_t *x, const int8_t *weights, int32_t size) {
  for (int32_t i = 0; i < size; ++i) {
    sum += x[i] * weights[i];
  }
  return sum;
}

/* All channels of one output pixel whose window begins at (input_y, input_x). */
static void convolve_pixel(const tinyopt_conv2d_s16 *op, const int16_t *image, int32_t input_y, int32_t input_x,
                           tinyopt_taps rows, tinyopt_taps columns, int16_t *output) {
  int32_t depth = op->input_channels / op->groups;
  int32_t per_group = op->output_channels / op->groups;
  int32_t step = op->dilation_width * op->input_channels;
  int32_t channel = 0;
  for (int32_t group = 0; group < op->groups; ++group) {
    for (int32_t c = 0; c < per_group; ++c, ++channel) {
      const int8_t *weights = op->weights + channel * op->kernel_height * op->kernel_width * depth;
      int64_t sum = op->bias ? op->bias[channel] : 0;
      for (int32_t ky = rows.first; ky < rows.end; ++ky) {
        int32_t row = (input_y + ky * op->dilation_height) * op->input_width + input_x;
        int32_t offset = row * op->input_channels + columns.first * step + group * depth;
        int32_t tap = (ky * op->kernel_width + columns.first) * depth;
        for (int32_t kx = columns.first; kx < columns.end; ++kx) {
          sum = dot(sum, image + offset, weights + tap, depth);
          offset += step;
          tap += depth;
        }
      }
      int32_t i = channel * op->per_channel;
      output[channel] =
          tinyopt_requantize_s16(sum, op->multipliers[i], op->shifts[i], op->wide_sums, op->clamp_low, op->clamp_high);
    }
  }
}

void tinyopt_conv2d_s16_ref(const tinyopt_conv2d_s16 *op, const int16_t *input, int16_t *output) {
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t input_y = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_taps_inside(input_y, op->kernel_height, op->dilation_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t input_x = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
        convolve_pixel(op, input, input_y, input_x, rows, columns, output);
        output += op->output_channels;
      }
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
