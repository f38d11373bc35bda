/* Convolution in portable C: gather the patch of a pixel, then one dot product per output channel, two channels at a
 * time so that each activation is loaded once for both. */
#include "conv2d_s8.h"
#include "dot.h"

static int8_t finish(const tinyopt_conv2d_s8 *op, int32_t sum, int32_t channel) {
  int32_t i = channel * op->per_channel;
  return tinyopt_requantize_s8(sum, op->multipliers[i], op->shifts[i], op->output_zero_point, op->clamp_low,
                               op->clamp_high);
}

/* Output channels first..end-1 of one pixel; `output`: the pixel's channel 0. */
static void convolve_patch(const tinyopt_conv2d_s8 *op, const int8_t *patch, int32_t size, int32_t first, int32_t end,
                           int8_t *output) {
  const int8_t *weights = op->weights + first * size;
  int32_t channel = first;
  for (; channel + 1 < end; channel += 2) {
    int32_t sums[2] = {op->bias[channel], op->bias[channel + 1]};
    tinyopt_dot_pair_s8(sums, patch, weights, weights + size, size);
    output[channel] = finish(op, sums[0], channel);
    output[channel + 1] = finish(op, sums[1], channel + 1);
    weights += 2 * size;
  }
  if (channel < end) {
    output[channel] = finish(op, tinyopt_dot_s8(op->bias[channel], patch, weights, size), channel);
  }
}

void tinyopt_conv2d_s8_ref(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  int32_t size = tinyopt_conv2d_s8_patch_size(op);
  int32_t channels = op->output_channels / op->groups;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      for (int32_t x = 0; x < op->output_width; ++x) {
        for (int32_t group = 0; group < op->groups; ++group) {
          const int8_t *patch = scratch;
          if (op->contiguous) {
            patch = tinyopt_conv2d_s8_patch_at(op, input, y, x);
          } else {
            tinyopt_conv2d_s8_gather(op, input, y, x, group, scratch);
          }
          convolve_patch(op, patch, size, group * channels, (group + 1) * channels, output);
        }
        output += op->output_channels;
      }
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
