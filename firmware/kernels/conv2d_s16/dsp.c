/* Convolution of int16 activations with the Arm DSP extension: the patch of a pixel is gathered, then multiplied with
 * the weights of four channels at a time. */
#include "conv2d_s16.h"
#include "products_s16.h"

/* Copy the patch at (input_y, input_x) of the channels from `image` on; what lies outside the image is zero. */
static void gather(const tinyopt_conv2d_s16 *op, const int16_t *image, int32_t input_y, int32_t input_x, int32_t depth,
                   int16_t *patch) {
  tinyopt_taps rows = tinyopt_taps_inside(input_y, op->kernel_height, op->dilation_height, op->input_height);
  tinyopt_taps columns = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
  int32_t taps = columns.end - columns.first;
  int32_t run = 1; /* taps that follow each other in memory */
  if (op->dilation_width == 1 && op->groups == 1) {
    run = tinyopt_max(taps, 1);
  }
  if (rows.end - rows.first < op->kernel_height || taps < op->kernel_width) {
    memset(patch, 0, (size_t)(op->kernel_height * op->kernel_width * depth) * sizeof *patch);
  }
  for (int32_t ky = rows.first; ky < rows.end; ++ky) {
    int32_t row = (input_y + ky * op->dilation_height) * op->input_width + input_x;
    for (int32_t kx = columns.first; kx < columns.end; kx += run) {
      const int16_t *from = image + (row + kx * op->dilation_width) * op->input_channels;
      memcpy(patch + (ky * op->kernel_width + kx) * depth, from, (size_t)(run * depth) * sizeof *patch);
    }
  }
}

void tinyopt_conv2d_s16_dsp(const tinyopt_conv2d_s16 *op, const int16_t *input, int16_t *output, void *scratch) {
  int32_t depth = op->input_channels / op->groups;
  int32_t per_group = op->output_channels / op->groups;
  int32_t taps = op->kernel_height * op->kernel_width * depth;
  tinyopt_products_s16 products = {NULL,          NULL, NULL,      NULL,          op->per_channel,
                                   op->wide_sums, taps, per_group, op->clamp_low, op->clamp_high};
  /* A patch of one pixel needs no copy. */
  bool single = taps == op->input_channels && op->pad_top == 0 && op->pad_left == 0;
  for (int32_t row = 0; row < op->batches * op->output_height; ++row) {
    const int16_t *image = input + row / op->output_height * op->input_height * op->input_width * op->input_channels;
    int32_t input_y = row % op->output_height * op->stride_height - op->pad_top;
    for (int32_t x = 0; x < op->output_width; ++x) {
      int32_t input_x = x * op->stride_width - op->pad_left;
      for (int32_t group = 0; group < op->groups; ++group, output += per_group) {
        int32_t channel = group * per_group;
        products.weights = op->weights + channel * ((taps + 3) / 4 * 4);
        products.bias = op->bias ? op->bias + channel : NULL;
        products.multipliers = op->multipliers + channel * op->per_channel;
        products.shifts = op->shifts + channel * op->per_channel;
        const int16_t *patch = scratch;
        if (single) {
          patch = image + (input_y * op->input_width + input_x) * op->input_channels;
        } else {
          gather(op, image + group * depth, input_y, input_x, depth, scratch);
        }
        tinyopt_products_s16_of_patch(&products, patch, output);
      }
    }
  }
}
