/* Convolution in groups with Helium, patches read where they lie, packed weights. */
#include "packed_grouped_conv2d_s8.h"

void tinyopt_packed_grouped_conv2d_s8_mve_rows(const tinyopt_packed_grouped_conv2d_s8 *op, const int8_t *input,
                                               int8_t *output, void *scratch) {
  tinyopt_grouped_conv2d_s8 dense = op->dense;
  dense.weights = scratch;
  tinyopt_grouped_conv2d_s8_mve_rows(&dense, input, output, tinyopt_unpack_all(&op->packed, scratch));
}
