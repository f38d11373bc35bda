/* Convolution of single weights, gaps of four bits, in portable C. */
#include "three_pixels.h"

static TINYOPT_ALWAYS_INLINE const int8_t *row(const tinyopt_sparse_walk *walk, const int8_t *stream, int32_t lane) {
  (void)lane;
  return tinyopt_sparse_row_gaps4(walk, stream);
}

static TINYOPT_NEVER_INLINE void channels(const tinyopt_conv2d_s8 *op, const int8_t *columns, int32_t count,
                                          int8_t *output) {
  tinyopt_sparse_channels_3(op, columns, count, output, row, false);
}

void tinyopt_sparse_conv2d_s8_gaps4(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  tinyopt_sparse_convolve(op, input, output, scratch, TINYOPT_SPARSE_THREE, tinyopt_sparse_columns_3, channels);
}
