/* Mean over windows of an image, int8.
 *
 * input  int8 [batches][input_height][input_width][channels]
 * output int8 [batches][output_height][output_width][channels]
 *
 * With the n elements of a window that lie inside the image:
 * - one quantization for input and output: output = clamp(sum / n), rounded half away from zero. This equals TensorFlow
 *   Lite Micro's AVERAGE_POOL_2D bit for bit.
 * - rescale: m = (sum of (input - input_zero_point)) * 256 / n rounded half away from zero, and
 *   output = clamp(requantize(m, multiplier, shift) + output_zero_point), the multiplier being
 *   input_scale / (256 * output_scale). Windows have fewer than 32768 elements.
 *
 * Pointers need no alignment. Input and output must not overlap.
 */
#ifndef TINYOPT_AVERAGE_POOL2D_S8_H
#define TINYOPT_AVERAGE_POOL2D_S8_H

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
  int32_t rescale; /* 0: the fields up to output_zero_point are not read */
  int32_t input_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_average_pool2d_s8;

/* Portable C. */
void tinyopt_average_pool2d_s8_ref(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE). */
void tinyopt_average_pool2d_s8_mve(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

#endif
