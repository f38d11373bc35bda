/* Convolution with the Arm DSP extension and coded weights, four pixels by two channels at a time. */
#include "coded_conv2d_s8.h"

void tinyopt_coded_conv2d_s8_dsp_4x2(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                     void *scratch) {
  tinyopt_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_conv2d_s8_dsp_4x2(&dense, input, output, tinyopt_coded_conv2d_s8_decode(op, scratch));
}

void tinyopt_coded_conv2d_s8_dsp_4x2_relu(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                          void *scratch) {
  tinyopt_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_conv2d_s8_dsp_4x2_relu(&dense, input, output, tinyopt_coded_conv2d_s8_decode(op, scratch));
}
