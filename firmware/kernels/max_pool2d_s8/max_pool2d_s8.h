/* Maximum over windows of an image, int8.
 *
 * input  int8 [batches][input_height][input_width][channels]
 * output int8 [batches][output_height][output_width][channels]
 *
 * output = clamp(largest input inside the window); elements outside the image never win. Input and output have the
 * same quantization. This equals TensorFlow Lite Micro's MAX_POOL_2D bit for bit. Pointers need no alignment.
 * Input and output must not overlap.
 */
#ifndef TINYOPT_MAX_POOL2D_S8_H
#define TINYOPT_MAX_POOL2D_S8_H

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
} tinyopt_max_pool2d_s8;

/* Portable C. */
void tinyopt_max_pool2d_s8_ref(const tinyopt_max_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension; at least four channels. */
void tinyopt_max_pool2d_s8_dsp(const tinyopt_max_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE). */
void tinyopt_max_pool2d_s8_mve(const tinyopt_max_pool2d_s8 *op, const int8_t *input, int8_t *output);

#endif
