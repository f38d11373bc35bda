/* Resizes an image by nearest neighbour.
 *
 * Input: [batches][in_height][in_width][unit bytes], NHWC with one pixel's channels as a unit. Output:
 * [batches][out_height][out_width][unit bytes]. The source row of each output row and the source column of each output
 * column are tables made by the planner: TensorFlow Lite Micro's float32 rule for align_corners and half_pixel_centers,
 * so that no float arithmetic runs on the board. Any element type; pointers need no alignment. No scratch, not in
 * place. Exact.
 */
#ifndef TINYOPT_RESIZE_NEAREST_H
#define TINYOPT_RESIZE_NEAREST_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t batches;
  int32_t in_height;
  int32_t in_width;
  int32_t out_height;
  int32_t out_width;
  int32_t unit;           /* bytes of a pixel */
  const uint16_t *row;    /* [out_height] */
  const uint16_t *column; /* [out_width] */
} tinyopt_resize_nearest;

void tinyopt_resize_nearest_ref(const tinyopt_resize_nearest *op, const void *in, void *out);

#ifdef __cplusplus
}
#endif

#endif
