/* Depthwise convolution of int16 activations in portable C. The taps that lie inside the image are found once per
 * pixel. */
#include "depthwise_conv2d_s16.h"

/* All channels of one output pixel. `corner`: where tap (0, 0) would read channel 0, as an offset from `image`. */
static void convolve_pixel(const tinyopt_depthwise_conv2d_s16 *op, const int16_t *image, int32_t corner,
                           tinyopt_taps rows, tinyopt_taps columns, int16_t *output) {
  int32_t channels = op->input_channels * op->multiplier;
  int32_t step = op->dilation_width * op->input_channels;
  int32_t row_step = op->dilation_height * op->input_width * op->input_channels;
  int32_t channel = 0;
  for (int32_t c = 0; c < op->input_channels; ++c) {
    for (int32_t m = 0; m < op->multiplier; ++m, ++channel) {
      int64_t sum = op->bias ? op->bias[channel] : 0;
      for (int32_t ky = rows.first; ky < rows.end; ++ky) {
        int32_t offset = corner + ky * row_step + columns.first * step + c;
        int32_t tap = (ky * op->kernel_width + columns.first) * channels + channel;
        for (int32_t kx = columns.first; kx < columns.end; ++kx) {
          sum += image[offset] * op->weights[tap];
          offset += step;
          tap += channels;
        }
      }
      int32_t i = channel * op->per_channel;
      output[channel] =
          tinyopt_requantize_s16(sum, op->multipliers[i], op->shifts[i], op->wide_sums, op->clamp_low, op->clamp_high);
    }
  }
}

void tinyopt_depthwise_conv2d_s16_ref(const tinyopt_depthwise_conv2d_s16 *op, const int16_t *input, int16_t *output) {
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t input_y = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_taps_inside(input_y, op->kernel_height, op->dilation_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t input_x = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
        int32_t corner = (input_y * op->input_width + input_x) * op->input_channels;
        convolve_pixel(op, input, corner, rows, columns, output);
        output += op->input_channels * op->multiplier;
      }
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
