/* Transposed convolution of int16 activations in portable C, output pixel by output pixel: the input pixels that reach
 * it are found once and added to the sums of all channels, so that only one pixel's sums are kept. */
#include "transpose_conv2d_s16.h"

/* Add one input pixel under one tap to the sums of all output channels. `weights`: the tap of channel 0. */
static void add_tap(const tinyopt_transpose_conv2d_s16 *op, const int16_t *pixel, const int8_t *weights,
                    int64_t *sums) {
  int32_t filter_size = op->kernel_height * op->kernel_width * op->input_channels;
  for (int32_t o = 0; o < op->output_channels; ++o) {
    int64_t sum = sums[o];
    for (int32_t c = 0; c < op->input_channels; ++c) {
      sum += pixel[c] * weights[c];
    }
    sums[o] = sum;
    weights += filter_size;
  }
}

static void sum_pixel(const tinyopt_transpose_conv2d_s16 *op, const int16_t *image, int32_t y, int32_t x,
                      int64_t *sums) {
  for (int32_t ky = 0; ky < op->kernel_height; ++ky) {
    int32_t input_y =
        tinyopt_input_of_tap(y + op->pad_top - ky * op->dilation_height, op->stride_height, op->input_height);
    if (input_y < 0) {
      continue;
    }
    for (int32_t kx = 0; kx < op->kernel_width; ++kx) {
      int32_t input_x =
          tinyopt_input_of_tap(x + op->pad_left - kx * op->dilation_width, op->stride_width, op->input_width);
      if (input_x >= 0) {
        const int16_t *pixel = image + (input_y * op->input_width + input_x) * op->input_channels;
        add_tap(op, pixel, op->weights + (ky * op->kernel_width + kx) * op->input_channels, sums);
      }
    }
  }
}

void tinyopt_transpose_conv2d_s16_ref(const tinyopt_transpose_conv2d_s16 *op, const int16_t *input, int16_t *output,
                                      void *scratch) {
  int64_t *sums = scratch;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      for (int32_t x = 0; x < op->output_width; ++x) {
        for (int32_t o = 0; o < op->output_channels; ++o) {
          sums[o] = op->bias ? op->bias[o] : 0;
        }
        sum_pixel(op, input, y, x, sums);
        for (int32_t o = 0; o < op->output_channels; ++o) {
          int32_t i = o * op->per_channel;
          output[o] = tinyopt_requantize_s16(sums[o], op->multipliers[i], op->shifts[i], op->wide_sums, op->clamp_low,
                                             op->clamp_high);
        }
        output += op->output_channels;
      }
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
