/* Depthwise 2-D convolution, float32.
 *
 * input  float [batches][input_height][input_width][input_channels]
 * output float [batches][output_height][output_width][input_channels * multiplier]
 *
 * Output channel o reads input channel o / multiplier: clamp(bias[o] + sum over ky, kx inside the image of
 * weights[ky][kx][o] * input). Sums are float32 in the order of the taps; other kernels and the float executor may
 * differ by rounding.
 *
 * Input and output must not overlap. No scratch.
 */
#ifndef TINYOPT_DEPTHWISE_CONV2D_F32_H
#define TINYOPT_DEPTHWISE_CONV2D_F32_H

#include "common.h"
#include "window.h"

typedef struct {
  const float *weights; /* [kernel_height][kernel_width][input_channels * multiplier] */
  const float *bias;    /* [input_channels * multiplier], or NULL */
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t input_channels;
  int32_t multiplier; /* output channels per input channel */
  int32_t output_height;
  int32_t output_width;
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
} tinyopt_depthwise_conv2d_f32;

void tinyopt_depthwise_conv2d_f32_ref(const tinyopt_depthwise_conv2d_f32 *op, const float *input, float *output);

#endif
