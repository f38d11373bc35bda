/* 2-D convolution, int16 activations and int8 weights.
 *
 * input  int16 [batches][input_height][input_width][input_channels]
 * output int16 [batches][output_height][output_width][output_channels]
 *
 * output[b][y][x][o] = clamp(requantize(sum, multipliers[o], shifts[o])), where sum = bias[o] + sum over ky, kx, c of
 * weights[o][ky][kx][c] * input at row y * stride_height - pad_top + ky * dilation_height, column likewise, channel
 * c + (group of o) * input_channels / groups; 0 outside the image.
 * sum is exact in 64 bits. With wide_sums it is requantized with a multiplier of 15 bits; else it is taken modulo 2^32
 * and requantized as for int8. Zero points are 0. This equals TensorFlow Lite Micro's reference kernel bit for bit
 * (wide_sums: a 64-bit bias or none; else a 32-bit bias).
 *
 * Pointers need the alignment of their element type. Input and output must not overlap.
 */
#ifndef TINYOPT_CONV2D_S16_H
#define TINYOPT_CONV2D_S16_H

#include "common.h"
#include "window.h"

typedef struct {
  const int8_t *weights;      /* ref: [output_channels][kernel_height][kernel_width][input_channels / groups] */
  const int64_t *bias;        /* [output_channels], or NULL */
  const int32_t *multipliers; /* [output_channels], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers; at most 7 with wide_sums */
  int32_t per_channel;        /* 1: a multiplier for every output channel; 0: one for all */
  int32_t wide_sums;
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
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_conv2d_s16;

/* Portable C. No scratch. */
void tinyopt_conv2d_s16_ref(const tinyopt_conv2d_s16 *op, const int16_t *input, int16_t *output);

/* Arm DSP extension. weights: per group as in products_s16.h; the magnitudes of a channel's weights sum to less than
 * 2^16. scratch: a patch, 2 * kernel_height * kernel_width * input_channels / groups bytes. */
void tinyopt_conv2d_s16_dsp(const tinyopt_conv2d_s16 *op, const int16_t *input, int16_t *output, void *scratch);

#endif
