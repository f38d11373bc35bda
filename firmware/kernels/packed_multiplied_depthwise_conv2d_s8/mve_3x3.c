/* Depthwise convolution of several outputs a channel with Helium: 3x3, packed weights. */
#include "packed_multiplied_depthwise_conv2d_s8.h"

void tinyopt_packed_multiplied_depthwise_conv2d_s8_mve_3x3(const tinyopt_packed_multiplied_depthwise_conv2d_s8 *op,
                                                           const int8_t *input, int8_t *output, void *scratch) {
  tinyopt_multiplied_depthwise_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_multiplied_depthwise_conv2d_s8_mve_3x3(&dense, input, output, tinyopt_unpack_all(&op->packed, scratch));
}
