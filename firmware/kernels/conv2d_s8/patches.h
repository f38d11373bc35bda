/* Where the rows of a patch lie: in the image, or gathered where they are not whole in it. For convolutions that make
 * columns of the patches of several pixels; groups is 1. */
#ifndef TINYOPT_CONV2D_S8_PATCHES_H
#define TINYOPT_CONV2D_S8_PATCHES_H

#include "conv2d_s8.h"

typedef struct {
  int32_t y, x; /* of the patch's first tap in the input, perhaps outside */
} tinyopt_corner;

/* Where the next output pixel's patch begins. `x`: the column of this output pixel, counted along. */
static inline tinyopt_corner tinyopt_next_corner(const tinyopt_conv2d_s8 *op, tinyopt_corner corner, int32_t *x) {
  corner.x += op->stride_width;
  if (++*x == op->output_width) {
    *x = 0;
    corner.x = -op->pad_left;
    corner.y += op->stride_height;
  }
  return corner;
}

/* A row of taps that is not whole in the image, or not in one piece. `row`: the input row, NULL when there is none. */
static inline void tinyopt_gather_edge(const tinyopt_conv2d_s8 *op, const int8_t *row, int32_t x, int8_t *edge) {
  size_t channels = (size_t)op->input_channels;
  for (int32_t kx = 0; kx < op->kernel_width; ++kx, x += op->dilation_width, edge += channels) {
    if (row && x >= 0 && x < op->input_width) {
      memcpy(edge, row + x * op->input_channels, channels);
    } else {
      memset(edge, op->input_zero_point, channels);
    }
  }
}

/* Where row `ky` of a patch lies: in the image, or gathered into `edge`. */
static inline const int8_t *tinyopt_patch_row(const tinyopt_conv2d_s8 *op, const int8_t *image,
                                              const tinyopt_corner *corner, int32_t ky, int8_t *edge) {
  int32_t y = corner->y + ky * op->dilation_height;
  int32_t x = corner->x;
  const int8_t *row = y < 0 || y >= op->input_height ? NULL : image + y * op->input_width * op->input_channels;
  bool unbroken = op->dilation_width == 1 || op->kernel_width == 1;
  if (row && unbroken && x >= 0 && x + op->kernel_width <= op->input_width) {
    return row + x * op->input_channels;
  }
  tinyopt_gather_edge(op, row, x, edge);
  return edge;
}

#endif
