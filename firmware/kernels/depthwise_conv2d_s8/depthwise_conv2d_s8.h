/* Depthwise 2-D convolution, int8 activations and weights.
 *
 * input  int8 [batches][input_height][input_width][input_channels]
 * output int8 [batches][output_height][output_width][input_channels * multiplier]
 *
 * Output channel o reads input channel o / multiplier:
 * output[b][y][x][o] = clamp(requantize(sum, multipliers[o], shifts[o]) + output_zero_point), where
 * sum = bias[o] + sum over ky, kx inside the image of weights[ky][kx][o] * (input[..] - input_zero_point), modulo
 * 2^32. Taps outside the image add nothing. This equals TensorFlow Lite Micro's reference kernel bit for bit.
 *
 * Pointers need no alignment beyond their element type. Input and output must not overlap, unless a kernel says
 * so.
 */
#ifndef TINYOPT_DEPTHWISE_CONV2D_S8_H
#define TINYOPT_DEPTHWISE_CONV2D_S8_H

#include "common.h"
#include "window.h"

typedef struct {
  const int8_t *weights;      /* in the kernel's own order */
  const int32_t *bias;        /* [output channels], the model's bias or zeros */
  const int32_t *multipliers; /* [output channels], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers */
  int32_t per_channel;        /* 1: a multiplier for every output channel; 0: one for all */
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
  int32_t input_zero_point;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_depthwise_conv2d_s8;

/* Portable C. weights: [kernel_height][kernel_width][input_channels * multiplier]. */
void tinyopt_depthwise_conv2d_s8_ref(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension; multiplier must be 1. weights: [kernel_height][kernel_width][input_channels]. */
void tinyopt_depthwise_conv2d_s8_dsp(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output);

/* Whether kernels that go line by line run along columns instead of rows: where they are longer, and a column of
 * outputs lies where the column of inputs lay, so that it works in place. */
static inline bool tinyopt_depthwise_conv2d_s8_turned(const tinyopt_depthwise_conv2d_s8 *op) {
  return op->input_height > op->input_width && op->output_width == op->input_width;
}

/* Portable C and Armv6-M assembly: 3x3, dilation 1, multiplier 1, strides of 1 or 2, at most two rows and columns of
 * padding before the image. weights, bias and in place: as dsp_3x3; every sum is below 2^23, every shift to the right.
 * scratch: 4 * n + 12 * ((n - 1) * stride + 3) bytes, n: outputs of a line. */
void tinyopt_depthwise_conv2d_s8_lines_3x3(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                           void *scratch);

/* Arm DSP extension: 3x3, dilation 1, multiplier 1, at least four channels, strides both 1 or both 2, at most two rows
 * and columns of padding before the image. weights: [input_channels][3][3], turned (columns first) when the function
 * above says so; bias: input zero point folded in, doubled; every sum, doubled, fits 32 bits, and every shift is to the
 * right. In place: the output may begin where the input begins when it is no larger in either direction. scratch:
 * 48 * ((n + 3) / 4 * 2 * stride + 1) bytes, n: outputs of a line.
 *
 * relu: clamp_low is at least the output's zero point. Sums are scaled by 2^k; shifts hold k, 2 to 14, and bias is
 * scaled. With high = (scaled sum * multiplier) >> 32, the output is ((high + 2^10 + 2^(k - 2)) >> 11) +
 * output_zero_point, clamped: tinyopt/plan/single_rounding.py proves that no sum within reach differs from the
 * definition. */
void tinyopt_depthwise_conv2d_s8_dsp_3x3(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                         void *scratch);
void tinyopt_depthwise_conv2d_s8_dsp_3x3_stride_2(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                                  int8_t *output, void *scratch);
void tinyopt_depthwise_conv2d_s8_dsp_3x3_relu(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch);
void tinyopt_depthwise_conv2d_s8_dsp_3x3_relu_stride_2(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input,
                                                       int8_t *output, void *scratch);

/* Arm DSP extension: any window, multiplier 1; strides of 1 along a dilated axis, and padding before the image that a
 * window of the first output does not lie in as a whole. weights, bias, sums, shifts and in place: as dsp_3x3, [3][3]
 * being the window; dilated ones not in place. scratch: 4 * kernel * (4 * words + line) bytes, with kernel the window
 * across lines and words = max((width + 1 + stride % 2) / 2, 2), width and stride those along a line; line = (n + 3) /
 * 4 * 2 * stride + words, n: outputs of a line, divided by the dilation and rounded up. */
void tinyopt_depthwise_conv2d_s8_dsp_lines(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                           void *scratch);

/* Helium (MVE); multiplier must be 1, and every shift to the right, or 0 where clamp_low is at least the output's zero
 * point. weights: a stream of bytes, aligned to four; per eight channels: four biases (input zero point folded in),
 * multipliers and shifts of the even ones, the same of the odd ones, each int32, then per tap the weights of the eight
 * channels; channels are padded with zeros. The fields bias, multipliers and shifts are not read. scratch: a window,
 * kernel_height * kernel_width * input_channels bytes. */
void tinyopt_depthwise_conv2d_s8_mve(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                     void *scratch);

/* Helium (MVE): 3x3, dilation 1, multiplier 1, strides both 1 or both 2, at most two rows and columns of padding before
 * the image; shifts as of mve. weights, per channel: four zeros, then per column three rows and a zero (turned:
 * per row three columns and a zero), and four zeros behind the last channel; bias: input zero point folded in. In
 * place: as dsp_3x3. scratch: 4 bytes per position looked at in a line of n outputs: n rounded up to a multiple of two,
 * plus two; with stride 2, 8 for every four outputs begun, plus two. */
void tinyopt_depthwise_conv2d_s8_mve_3x3(const tinyopt_depthwise_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                         void *scratch);

#endif
