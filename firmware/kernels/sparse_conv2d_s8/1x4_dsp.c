/* Convolution of blocks of four inputs, with the Arm DSP extension. */
#include "four_pixels.h"

static TINYOPT_NEVER_INLINE void channels(const tinyopt_conv2d_s8 *op, const int8_t *columns, int32_t count,
                                          int8_t *output) {
  tinyopt_sparse_channels_4(op, columns, count, output, tinyopt_sparse_row_1x4);
}

void tinyopt_sparse_conv2d_s8_1x4_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  tinyopt_sparse_convolve(op, input, output, scratch, TINYOPT_SPARSE_FOUR, tinyopt_sparse_columns_4, channels);
}
