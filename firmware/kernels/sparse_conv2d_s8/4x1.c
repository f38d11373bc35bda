/* Convolution of blocks of four outputs, in portable C: a row of blocks is walked once for each of its outputs. */
#include "three_pixels.h"

static TINYOPT_NEVER_INLINE void channels(const tinyopt_conv2d_s8 *op, const int8_t *columns, int32_t count,
                                          int8_t *output) {
  const int8_t *stream = op->weights;
  for (int32_t first = 0; first < op->output_channels; first += 4) {
    const int8_t *next = stream;
    for (int32_t lane = 0; lane < tinyopt_min(4, op->output_channels - first); ++lane) {
      tinyopt_sparse_sums_3 sums = tinyopt_sparse_from_3(op->bias[first + lane]);
      tinyopt_sparse_walk walk = {columns, 0, 8, tinyopt_sparse_add_3, tinyopt_sparse_flush_3, &sums};
      next = tinyopt_sparse_lane_4x1(&walk, stream, lane);
      tinyopt_sparse_finish_3(op, sums.total, first + lane, count, output);
    }
    stream = next;
  }
}

void tinyopt_sparse_conv2d_s8_4x1(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  tinyopt_sparse_convolve(op, input, output, scratch, TINYOPT_SPARSE_THREE, tinyopt_sparse_columns_3, channels);
}
