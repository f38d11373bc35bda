/* Convolution with Helium, sixteen taps of four outputs at a time, one pixel after the other. */
#include "sparse_conv2d_s8.h"
#include "sparse_mve.h"

void tinyopt_sparse_conv2d_s8_4x16_mve(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                       void *scratch) {
  tinyopt_sparse_limits limits = {op->output_zero_point, op->clamp_low, op->clamp_high};
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      for (int32_t x = 0; x < op->output_width; ++x) {
        const int8_t *patch = scratch;
        if (op->contiguous) {
          patch = tinyopt_conv2d_s8_patch_at(op, input, y, x);
        } else {
          tinyopt_conv2d_s8_gather(op, input, y, x, 0, scratch);
        }
        tinyopt_sparse_mve_outputs(&limits, patch, op->weights, op->output_channels, output);
        output += op->output_channels;
      }
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
