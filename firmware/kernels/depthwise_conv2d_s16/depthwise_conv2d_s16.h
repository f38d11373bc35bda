/* Depthwise 2-D convolution, int16 activations and int8 weights.
 *
 * input  int16 [batches][input_height][input_width][input_channels]
 * output int16 [batches][output_height][output_width][input_channels * multiplier]
 *
 * Output channel o reads input channel o / multiplier: clamp(requantize(sum, multipliers[o], shifts[o])), where sum =
 * bias[o] + sum over ky, kx inside the image of weights[ky][kx][o] * input.
 * sum is exact in 64 bits. With wide_sums it is requantized with a multiplier of 15 bits; else it is taken modulo 2^32
 * and requantized as for int8. Zero points are 0. This equals TensorFlow Lite Micro's reference kernel bit for bit
 * (wide_sums: a 64-bit bias or none; else a 32-bit bias).
 *
 * Pointers need the alignment of their element type. Input and output must not overlap.
 */
#ifndef TINYOPT_DEPTHWISE_CONV2D_S16_H
#define TINYOPT_DEPTHWISE_CONV2D_S16_H

#include "common.h"
#include "window.h"

typedef struct {
  const int8_t *weights;      /* ref: [kernel_height][kernel_width][input_channels * multiplier] */
  const int64_t *bias;        /* [input_channels * multiplier], or NULL */
  const int32_t *multipliers; /* [input_channels * multiplier], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers; at most 7 with wide_sums */
  int32_t per_channel;        /* 1: a multiplier for every output channel; 0: one for all */
  int32_t wide_sums;
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
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_depthwise_conv2d_s16;

/* Portable C. */
void tinyopt_depthwise_conv2d_s16_ref(const tinyopt_depthwise_conv2d_s16 *op, const int16_t *input, int16_t *output);

/* Arm DSP extension; multiplier must be 1, and the magnitudes of a channel's weights sum to less than 2^16. weights: of
 * four channels the two in the middle are swapped. */
void tinyopt_depthwise_conv2d_s16_dsp(const tinyopt_depthwise_conv2d_s16 *op, const int16_t *input, int16_t *output);

#endif
