/* Convolution with the Arm DSP extension, four pixels by two output channels at a time. Patches are widened into
 * columns once, and every pair of channels then streams its weights past them. See blocks_dsp.h. */
#include "blocks_dsp.h"
#include "conv2d_s8.h"

/* Widen the patches of `count` pixels, the first at (y, x) of the output. */
static void widen_block(const tinyopt_conv2d_s8 *op, const int8_t *image, int32_t y, int32_t x, int32_t count,
                        int8_t *patch, uint32_t *columns) {
  int32_t taps = tinyopt_conv2d_s8_patch_size(op);
  for (int32_t pixel = 0; pixel < count; ++pixel) {
    const int8_t *source = patch;
    if (op->contiguous) {
      source = tinyopt_conv2d_s8_patch_at(op, image, y, x);
    } else {
      tinyopt_conv2d_s8_gather(op, image, y, x, 0, patch);
    }
    tinyopt_block_widen(source, taps, count, columns + pixel);
    if (++x == op->output_width) {
      x = 0;
      ++y;
    }
  }
}

void tinyopt_conv2d_s8_dsp_4x2(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  const uint32_t *stream = (const uint32_t *)(const void *)op->weights;
  int32_t groups = (tinyopt_conv2d_s8_patch_size(op) + 3) / 4;
  tinyopt_block block = {scratch, groups, op->output_channels, op->output_channels, 2 * op->output_zero_point + 1};
  int8_t *patch = (int8_t *)scratch + 32 * groups;
  int32_t pixels = op->output_height * op->output_width;
  bool clamps = op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    int32_t y = 0;
    int32_t x = 0;
    for (int32_t left = pixels; left > 0;) {
      int32_t count = left >= 4 ? 4 : (left >= 2 ? 2 : 1);
      widen_block(op, input, y, x, count, patch, scratch);
      if (count == 4) {
        tinyopt_block_4(&block, stream, output);
      } else if (count == 2) {
        tinyopt_block_2(&block, stream, output);
      } else {
        tinyopt_block_1(&block, stream, output);
      }
      if (clamps) {
        tinyopt_block_clamp(output, count * op->output_channels, op->clamp_low, op->clamp_high);
      }
      output += count * op->output_channels;
      left -= count;
      for (x += count; x >= op->output_width; x -= op->output_width) {
        ++y;
      }
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
