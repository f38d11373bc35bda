/* Convolution of blocks of four outputs, in portable C: a row of blocks is walked once for each of its outputs. */
#include "three_pixels.h"

static TINYOPT_NEVER_INLINE void channels(const tinyopt_conv2d_s8 *op, const int8_t *columns, int32_t count,
                                          int8_t *output) {
  tinyopt_sparse_channels_3(op, columns, count, output, tinyopt_sparse_lane_4x1, true);
}

void tinyopt_sparse_conv2d_s8_4x1(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  tinyopt_sparse_convolve(op, input, output, scratch, TINYOPT_SPARSE_THREE, tinyopt_sparse_columns_3, channels);
}
