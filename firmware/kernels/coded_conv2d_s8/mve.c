/* Convolution with Helium and coded weights. */
#include "coded_conv2d_s8.h"

void tinyopt_coded_conv2d_s8_mve(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                 void *scratch) {
  tinyopt_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_conv2d_s8_mve(&dense, input, output, tinyopt_coded_conv2d_s8_decode(op, scratch));
}
