/* Convolution with Helium that reads patches where they lie, one run of taps per row of the kernel; only those that
 * leave the image are copied. See blocks_mve.h. */
#include "blocks_mve.h"
#include "conv2d_s8.h"
#include "mve.h"

/* Write the taps of an output pixel, every row of taps padded to whole vectors. */
static void gather(const tinyopt_conv2d_s8 *op, const int8_t *image, int32_t y, int32_t x, int32_t padded,
                   int8_t *patch) {
  int32_t channels = op->input_channels;
  int32_t run = op->kernel_width * channels;
  tinyopt_taps taps = tinyopt_taps_inside(x, op->kernel_width, 1, op->input_width);
  for (int32_t ky = 0; ky < op->kernel_height; ++ky, y += op->dilation_height, patch += padded) {
    tinyopt_mve_fill(patch, op->input_zero_point, run);
    if (y >= 0 && y < op->input_height) {
      const int8_t *row = image + (y * op->input_width + x + taps.first) * channels;
      tinyopt_mve_copy(patch + taps.first * channels, row, (taps.end - taps.first) * channels);
    }
  }
}

/* Whether all taps of an output pixel, and the bytes read to whole vectors, lie in `size` bytes of input. */
static inline bool is_inside(const tinyopt_conv2d_s8 *op, int32_t y, int32_t x, int32_t padded, int32_t size) {
  int32_t bottom = y + (op->kernel_height - 1) * op->dilation_height;
  return y >= 0 && x >= 0 && bottom < op->input_height && x + op->kernel_width <= op->input_width &&
         (bottom * op->input_width + x) * op->input_channels + padded <= size;
}

void tinyopt_conv2d_s8_mve_rows(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  int32_t pitch = op->input_width * op->input_channels;
  int32_t image_size = op->input_height * pitch;
  int32_t vectors = (op->kernel_width * op->input_channels + 15) / 16;
  int32_t padded = 16 * vectors;
  int8_t *patch = scratch;
  tinyopt_block_mve block = {.vectors = vectors,
                             .runs = op->kernel_height,
                             .channels = op->output_channels,
                             .zero_point = op->output_zero_point,
                             .low = op->clamp_low,
                             .high = op->clamp_high};
  for (int32_t batch = 0; batch < op->batches; ++batch, input += image_size) {
    for (int32_t y = -op->pad_top, row = 0; row < op->output_height; ++row, y += op->stride_height) {
      for (int32_t x = -op->pad_left, left = op->output_width; left > 0;) {
        int32_t last = x + (left > 1 ? op->stride_width : 0);
        if (is_inside(op, y, x, padded, image_size) && is_inside(op, y, last, padded, image_size)) {
          block.first = input + y * pitch + x * op->input_channels;
          block.second = input + y * pitch + last * op->input_channels;
          block.skip = op->dilation_height * pitch - padded;
        } else {
          gather(op, input, y, x, padded, patch);
          gather(op, input, y, last, padded, patch + op->kernel_height * padded);
          block.first = patch;
          block.second = patch + op->kernel_height * padded;
          block.skip = 0;
        }
        block.first_output = output;
        output += left > 1 ? op->output_channels : 0;
        block.second_output = output;
        tinyopt_block_mve_2(&block, op->weights);
        output += op->output_channels;
        x += 2 * op->stride_width;
        left -= 2;
      }
    }
  }
}
