/* Convolution with Helium, two pixels by four output channels at a time: patches are copied side by side, which also
 * makes it work in place, and every four channels stream their weights past them. See blocks_mve.h. */
#include "blocks_mve.h"
#include "conv2d_s8.h"
#include "mve.h"

/* Write the taps of an output pixel, [kernel_height][kernel_width][input_channels]. */
static void gather(const tinyopt_conv2d_s8 *op, const int8_t *image, int32_t y, int32_t x, int8_t *patch) {
  int32_t channels = op->input_channels;
  int32_t run = op->kernel_width * channels;
  int32_t pitch = op->input_width * channels;
  tinyopt_taps taps = {0, op->kernel_width};
  int32_t last = x + (op->kernel_width - 1) * op->dilation_width;
  if (x < 0 || last >= op->input_width) {
    taps = tinyopt_taps_inside(x, op->kernel_width, op->dilation_width, op->input_width);
  }
  int32_t before = taps.first * channels;
  int32_t inside = (taps.end - taps.first) * channels;
  const int8_t *row = image + y * pitch + (x + taps.first * op->dilation_width) * channels;
  int32_t step = op->dilation_height * pitch;
  for (int32_t ky = 0; ky < op->kernel_height; ++ky, y += op->dilation_height, row += step, patch += run) {
    if (y < 0 || y >= op->input_height) {
      tinyopt_mve_fill(patch, op->input_zero_point, run);
      continue;
    }
    if (inside < run) {
      tinyopt_mve_fill(patch, op->input_zero_point, run);
    }
    if (op->dilation_width == 1) {
      tinyopt_mve_copy(patch + before, row, inside);
      continue;
    }
    for (int32_t kx = 0; kx < taps.end - taps.first; ++kx) {
      tinyopt_mve_copy(patch + before + kx * channels, row + kx * op->dilation_width * channels, channels);
    }
  }
}

void tinyopt_conv2d_s8_mve(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  int32_t taps = op->kernel_height * op->kernel_width * op->input_channels;
  int32_t vectors = (taps + 15) / 16;
  int8_t *patch = scratch;
  tinyopt_block_mve block = {
      .vectors = vectors, .runs = 1, .zero_point = op->output_zero_point, .low = op->clamp_low, .high = op->clamp_high};
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    int32_t left = op->output_height * op->output_width;
    int32_t y = 0;
    int32_t x = 0;
    while (left > 0) {
      int32_t count = tinyopt_min(left, 2);
      for (int32_t pixel = 0; pixel < count; ++pixel) {
        int8_t *to = patch + 16 * vectors * pixel;
        if (op->contiguous) {
          tinyopt_mve_copy(to, tinyopt_conv2d_s8_patch_at(op, input, y, x), taps);
        } else {
          gather(op, input, y * op->stride_height - op->pad_top, x * op->stride_width - op->pad_left, to);
        }
        if (++x == op->output_width) {
          x = 0;
          ++y;
        }
      }
      block.first = patch;
      block.second = patch + 16 * vectors * (count - 1);
      block.channels = op->output_channels;
      block.first_output = output;
      block.second_output = output + (count - 1) * op->output_channels;
      tinyopt_block_mve_2(&block, op->weights);
      output += count * op->output_channels;
      left -= count;
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
