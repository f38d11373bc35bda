/* Depthwise convolution of several outputs a channel for cores without SIMD: 3x3. */
#include "multiplied_depthwise_conv2d_s8.h"

void tinyopt_multiplied_depthwise_conv2d_s8_lines_3x3(const tinyopt_multiplied_depthwise_conv2d_s8 *op,
                                                      const int8_t *input, int8_t *output, void *scratch) {
  tinyopt_multiplied_depthwise_conv2d_s8_run(op, input, output, scratch, tinyopt_depthwise_conv2d_s8_lines_3x3);
}
