/* 2-D convolution, float32.
 *
 * input  float [batches][input_height][input_width][input_channels]
 * output float [batches][output_height][output_width][output_channels]
 *
 * output[b][y][x][o] = clamp(bias[o] + sum over ky, kx, c of weights[o][ky][kx][c] * input at row
 * y * stride_height - pad_top + ky * dilation_height, column likewise, channel c + (group of o) * input_channels /
 * groups; 0 outside the image). Sums are float32 in the order of the weights; other kernels and the float executor
 * may differ by rounding.
 *
 * Input and output must not overlap. No scratch.
 */
#ifndef TINYOPT_CONV2D_F32_H
#define TINYOPT_CONV2D_F32_H

#include "common.h"
#include "window.h"

typedef struct {
  const float *weights; /* [output_channels][kernel_height][kernel_width][input_channels / groups] */
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
  int32_t groups;
  float clamp_low;
  float clamp_high;
} tinyopt_conv2d_f32;

void tinyopt_conv2d_f32_ref(const tinyopt_conv2d_f32 *op, const float *input, float *output);

#endif
