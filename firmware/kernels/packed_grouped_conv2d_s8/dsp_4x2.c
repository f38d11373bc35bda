/* Convolution in groups with the Arm DSP extension, packed weights. */
#include "packed_grouped_conv2d_s8.h"

void tinyopt_packed_grouped_conv2d_s8_dsp_4x2(const tinyopt_packed_grouped_conv2d_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch) {
  tinyopt_grouped_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_grouped_conv2d_s8_dsp_4x2(&dense, input, output, tinyopt_unpack_all(&op->packed, scratch));
}

void tinyopt_packed_grouped_conv2d_s8_dsp_4x2_relu(const tinyopt_packed_grouped_conv2d_s8 *op, const int8_t *input,
                                                   int8_t *output, void *scratch) {
  tinyopt_grouped_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_grouped_conv2d_s8_dsp_4x2_relu(&dense, input, output, tinyopt_unpack_all(&op->packed, scratch));
}
