/* Resizes a float32 image by bilinear interpolation.
 *
 * Input: [batches][in_height][in_width][channels], NHWC. Output: [batches][out_height][out_width][channels]. No
 * scratch, not in place; pointers are aligned to 4 bytes. The planner makes the coordinate tables.
 *
 * Contract: rows are interpolated first, then columns, a + (b - a) * weight in float32; equal to the float executor up
 * to rounding.
 */
#ifndef TINYOPT_RESIZE_BILINEAR_F32_H
#define TINYOPT_RESIZE_BILINEAR_F32_H

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
  int32_t channels;
  const uint16_t *row;        /* [out_height][2]: upper row, lower row */
  const float *row_weight;    /* [out_height]: weight of the lower row, 0 to 1 */
  const uint16_t *column;     /* [out_width][2]: left column, right column */
  const float *column_weight; /* [out_width]: weight of the right column */
} tinyopt_resize_bilinear_f32;

void tinyopt_resize_bilinear_f32_ref(const tinyopt_resize_bilinear_f32 *op, const float *in, float *out);

#ifdef __cplusplus
}
#endif

#endif
