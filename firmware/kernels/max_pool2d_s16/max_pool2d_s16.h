/* Maximum over windows of an image, int16.
 *
 * input  int16 [batches][input_height][input_width][channels]
 * output int16 [batches][output_height][output_width][channels]
 *
 * output = clamp(largest input inside the window); elements outside the image never win. Input and output have the
 * same quantization. This equals TensorFlow Lite Micro's MAX_POOL_2D bit for bit. Pointers are aligned to two bytes.
 * Input and output must not overlap.
 */
#ifndef TINYOPT_MAX_POOL2D_S16_H
#define TINYOPT_MAX_POOL2D_S16_H

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
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_max_pool2d_s16;

/* Portable C. */
void tinyopt_max_pool2d_s16_ref(const tinyopt_max_pool2d_s16 *op, const int16_t *input, int16_t *output);

#endif
