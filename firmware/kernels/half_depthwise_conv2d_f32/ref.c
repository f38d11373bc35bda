/* Depthwise convolution of floats with weights in half precision. */
#include "half_depthwise_conv2d_f32.h"

void tinyopt_half_depthwise_conv2d_f32_ref(const tinyopt_half_depthwise_conv2d_f32 *op, const float *input,
                                           float *output, void *scratch) {
  tinyopt_depthwise_conv2d_f32 dense = op->dense;
  int32_t channels = dense.input_channels * dense.multiplier;
  tinyopt_widen_all(op->weights, dense.kernel_height * dense.kernel_width * channels, scratch);
  dense.weights = scratch;
  tinyopt_depthwise_conv2d_f32_ref(&dense, input, output);
}
