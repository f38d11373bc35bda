/* Transposed 2-D convolution, float32.
 *
 * input  float [batches][input_height][input_width][input_channels]
 * output float [batches][output_height][output_width][output_channels]
 *
 * Input pixel (iy, ix) and tap (ky, kx) add to the output pixel (iy * stride_height + ky * dilation_height - pad_top,
 * ix * stride_width + kx * dilation_width - pad_left) where that lies inside the output; the bias is added and the
 * result clamped. Sums are float32; other kernels and the float executor may differ by rounding.
 *
 * Input and output must not overlap. No scratch.
 */
#ifndef TINYOPT_TRANSPOSE_CONV2D_F32_H
#define TINYOPT_TRANSPOSE_CONV2D_F32_H

#include "common.h"
#include "window.h"

typedef struct {
  const float *weights; /* [output_channels][kernel_height][kernel_width][input_channels] */
  const float *bias;    /* [output_channels], or NULL */
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t input_channels;
  int32_t output_height;
  int32_t output_width;
  int32_t output_channels;
  int32_t kernel_height;
  int32_t kernel_width;
  int32_t stride_height;
  int32_t stride_width;
  int32_t dilation_height;
  int32_t dilation_width;
  int32_t pad_top;
  int32_t pad_left;
  float clamp_low;
  float clamp_high;
} tinyopt_transpose_conv2d_f32;

void tinyopt_transpose_conv2d_f32_ref(const tinyopt_transpose_conv2d_f32 *op, const float *input, float *output);

#endif
