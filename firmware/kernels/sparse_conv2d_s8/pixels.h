/* Several pixels at a time: their patches as columns, then one output channel after the other. What columns look like,
 * and how a channel is computed, is the including file's part; both are known where this is inlined. */
#ifndef TINYOPT_SPARSE_CONV2D_PIXELS_H
#define TINYOPT_SPARSE_CONV2D_PIXELS_H

#include "patches.h"
#include "sparse.h"
#include "sparse_conv2d_s8.h"

enum { TINYOPT_SPARSE_PIXELS = 4 }; /* at most */

/* Columns of `taps` taps of the pixels; returns where the next ones go. */
typedef int8_t *tinyopt_sparse_columns(const int8_t *const *pixels, int32_t taps, int8_t *columns);

/* All output channels of `count` pixels; output: the first pixel's channel 0. */
typedef void tinyopt_sparse_channels(const tinyopt_conv2d_s8 *op, const int8_t *columns, int32_t count, int8_t *output);

static TINYOPT_ALWAYS_INLINE void tinyopt_sparse_convolve(const tinyopt_conv2d_s8 *op, const int8_t *input,
                                                          int8_t *output, int8_t *scratch, int32_t together,
                                                          tinyopt_sparse_columns *columns_of,
                                                          tinyopt_sparse_channels *channels_of) {
  int32_t row = op->kernel_width * op->input_channels;
  int32_t rows = op->kernel_height;
  int8_t *edge = scratch + 8 * row * rows;
  if (op->contiguous) { /* the whole patch is one row */
    row *= rows;
    rows = 1;
  }
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    tinyopt_corner corner = {-op->pad_top, -op->pad_left};
    int32_t x = 0;
    for (int32_t left = op->output_height * op->output_width; left > 0; left -= together) {
      tinyopt_corner corners[TINYOPT_SPARSE_PIXELS];
      int32_t count = tinyopt_min(together, left);
      for (int32_t i = 0; i < together; ++i) { /* where pixels are missing at the end, the last one stands for them */
        if (i >= count) {
          corners[i] = corners[i - 1];
          continue;
        }
        corners[i] = corner;
        corner = tinyopt_next_corner(op, corner, &x);
      }
      int8_t *next = scratch;
      for (int32_t ky = 0; ky < rows; ++ky) {
        const int8_t *pixels[TINYOPT_SPARSE_PIXELS];
        for (int32_t i = 0; i < together; ++i) {
          pixels[i] = op->contiguous ? input + (corners[i].y * op->input_width + corners[i].x) * op->input_channels
                                     : tinyopt_patch_row(op, input, &corners[i], ky, edge + i * row);
        }
        next = columns_of(pixels, row, next);
      }
      channels_of(op, scratch, count, output);
      output += count * op->output_channels;
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}

#endif
