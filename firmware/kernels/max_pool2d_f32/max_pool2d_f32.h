/* Maximum over windows of an image, float32.
 *
 * input  float32 [batches][input_height][input_width][channels]
 * output float32 [batches][output_height][output_width][channels]
 *
 * output = clamp(largest input inside the window); elements outside the image never win. Input and output have the
 * same quantization. An open side of the limits is the largest float.
 * Input and output must not overlap.
 */
#ifndef TINYOPT_MAX_POOL2D_F32_H
#define TINYOPT_MAX_POOL2D_F32_H

#include "common.h"
#include "window.h"

typedef struct {
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t channels;
  int32_t output_height;
  int32_t output_width;
  int32_t kernel_height;
  int32_t kernel_width;
  int32_t stride_height;
  int32_t stride_width;
  int32_t pad_top;
  int32_t pad_left;
  float clamp_low;
  float clamp_high;
} tinyopt_max_pool2d_f32;

/* Portable C. */
void tinyopt_max_pool2d_f32_ref(const tinyopt_max_pool2d_f32 *op, const float *input, float *output);

#endif
