/* Resizes an int8 image by bilinear interpolation.
 *
 * Input: [batches][in_height][in_width][channels], NHWC. Output: [batches][out_height][out_width][channels] with the
 * input's quantization. No scratch, not in place; pointers need no alignment.
 *
 * Contract (TensorFlow Lite Micro's integer resize): coordinates have 10 fractional bits. The four neighbours are
 * weighted with products of fractions, exactly, and the sum is divided by 2^20, ties away from zero. The planner makes
 * the tables, so that no coordinate is computed on the board.
 */
#ifndef TINYOPT_RESIZE_BILINEAR_S8_H
#define TINYOPT_RESIZE_BILINEAR_S8_H

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
  const uint16_t *row;    /* [out_height][3]: upper row, lower row, weight of the lower row (0 to 1023) */
  const uint16_t *column; /* [out_width][3]: left column, right column, weight of the right column */
} tinyopt_resize_bilinear_s8;

void tinyopt_resize_bilinear_s8_ref(const tinyopt_resize_bilinear_s8 *op, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif

#endif
