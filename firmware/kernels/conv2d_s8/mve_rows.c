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

/* The last column x at which all taps of an output pixel in row y, and the bytes read to whole vectors, lie in `size`
 * bytes of input; negative where there is none. */
static int32_t last_inside(const tinyopt_conv2d_s8 *op, int32_t y, int32_t padded, int32_t size) {
  int32_t bottom = y + (op->kernel_height - 1) * op->dilation_height;
  int32_t room = size - padded - bottom * op->input_width * op->input_channels;
  if (y < 0 || bottom >= op->input_height || room < 0) {
    return -1;
  }
  return tinyopt_min(op->input_width - op->kernel_width, room / op->input_channels);
}

void tinyopt_conv2d_s8_mve_rows(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  int32_t pitch = op->input_width * op->input_channels;
  int32_t step = op->stride_width * op->input_channels; /* bytes to the next pixel */
  int32_t image_size = op->input_height * pitch;
  int32_t vectors = (op->kernel_width * op->input_channels + 15) / 16;
  int32_t padded = 16 * vectors;
  int32_t channels = op->output_channels;
  int8_t *patch = scratch;
  tinyopt_block_mve block = {.vectors = vectors,
                             .runs = op->kernel_height,
                             .zero_point = op->output_zero_point,
                             .low = op->clamp_low,
                             .high = op->clamp_high};
  for (int32_t batch = 0; batch < op->batches; ++batch, input += image_size) {
    for (int32_t y = -op->pad_top, row = 0; row < op->output_height; ++row, y += op->stride_height) {
      int32_t limit = last_inside(op, y, padded, image_size);
      int32_t x = -op->pad_left;
      int32_t offset = y * pitch + x * op->input_channels;
      for (int32_t left = op->output_width; left > 0; left -= 2, offset += 2 * step) {
        bool paired = left > 1;
        int32_t last = paired ? x + op->stride_width : x;
        if (x >= 0 && last <= limit) {
          block.first = input + offset;
          block.second = block.first + (paired ? step : 0);
          block.skip = op->dilation_height * pitch - padded;
        } else {
          gather(op, input, y, x, padded, patch);
          gather(op, input, y, last, padded, patch + op->kernel_height * padded);
          block.first = patch;
          block.second = patch + op->kernel_height * padded;
          block.skip = 0;
        }
        block.channels = channels;
        block.first_output = output;
        block.second_output = output + (paired ? channels : 0);
        tinyopt_block_mve_2(&block, op->weights);
        output += paired ? 2 * channels : channels;
        x = last + op->stride_width;
      }
    }
  }
}
