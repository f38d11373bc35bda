/* Depthwise convolution with the Arm DSP extension and packed weights, line by line. */
#include "packed_depthwise_conv2d_s8.h"

void tinyopt_packed_depthwise_conv2d_s8_dsp_lines(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                                  int8_t *output, void *scratch) {
  tinyopt_depthwise_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_depthwise_conv2d_s8_dsp_lines(&dense, input, output, tinyopt_unpack_all(&op->packed, scratch));
}
