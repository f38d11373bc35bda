/* Convolution with Helium and coded weights, patches read where they lie. */
#include "coded_conv2d_s8.h"

void tinyopt_coded_conv2d_s8_mve_rows(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                      void *scratch) {
  tinyopt_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_conv2d_s8_mve_rows(&dense, input, output, tinyopt_coded_conv2d_s8_decode(op, scratch));
}
