/* Depthwise 2-D convolution of float32 tensors with int8 weights, whose input is rounded to int8 with a range of its
 * own at every run.
 *
 * input  float [batches][input_height][input_width][input_channels]
 * output float [batches][output_height][output_width][input_channels * multiplier]
 *
 * The image of each batch becomes int8 with a scale and a zero point as dynamic.h says. output[b][y][x][o] =
 * clamp(sum * scales[o] * scale + bias[o]), where sum is the sum over ky, kx of weights[ky][kx][o] * (integer - zero
 * point) over the integers at row y * stride_height - pad_top + ky * dilation_height, column likewise, channel
 * o / multiplier; taps outside the image are left out. The sum is exact and the same on every core; float32 arithmetic
 * behind it may differ by rounding. An image that holds NaN or infinity gives NaN.
 *
 * Pointers need no alignment beyond their element type. With one batch the output may be anywhere in the memory of the
 * input, since the input has become integers before the first output is written; else they must not overlap.
 * scratch: the int8 image of one batch.
 */
#ifndef TINYOPT_DYNAMIC_DEPTHWISE_CONV2D_F32_H
#define TINYOPT_DYNAMIC_DEPTHWISE_CONV2D_F32_H

#include "common.h"
#include "dynamic.h"
#include "window.h"

typedef struct {
  const int8_t *weights; /* [kernel_height][kernel_width][input_channels * multiplier] */
  const float *scales;   /* [output channels], or [1] when per_channel is 0 */
  const float *bias;     /* [output channels], or NULL */
  int32_t per_channel;   /* 1: a scale for every output channel; 0: one for all */
  int32_t symmetric;     /* 1: the zero point is 0 */
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
} tinyopt_dynamic_depthwise_conv2d_f32;

/* Where one output pixel reads: the taps inside the image, and the offset of tap (0, 0) of channel 0. */
typedef struct {
  tinyopt_taps rows;
  tinyopt_taps columns;
  int32_t corner;
  tinyopt_range range; /* of the image */
} tinyopt_dynamic_window;

/* A sum as an output. */
static inline float tinyopt_dynamic_depthwise_conv2d_f32_finish(const tinyopt_dynamic_depthwise_conv2d_f32 *op,
                                                                int32_t sum, float scale, int32_t channel) {
  float value = (float)sum * op->scales[channel * op->per_channel] * scale;
  if (op->bias) {
    value += op->bias[channel];
  }
  return tinyopt_clamp_f32(value, op->clamp_low, op->clamp_high);
}

/* The sum of output channel `channel`, which reads the input channel `from`. */
static inline int32_t tinyopt_dynamic_depthwise_conv2d_f32_sum(const tinyopt_dynamic_depthwise_conv2d_f32 *op,
                                                               const int8_t *image,
                                                               const tinyopt_dynamic_window *window, int32_t from,
                                                               int32_t channel) {
  int32_t channels = op->input_channels * op->multiplier;
  int32_t step = op->dilation_width * op->input_channels;
  int32_t row_step = op->dilation_height * op->input_width * op->input_channels;
  int32_t sum = 0;
  for (int32_t ky = window->rows.first; ky < window->rows.end; ++ky) {
    const int8_t *x = image + (window->corner + ky * row_step + window->columns.first * step + from);
    const int8_t *weights = op->weights + (ky * op->kernel_width + window->columns.first) * channels + channel;
    for (int32_t left = window->columns.end - window->columns.first; left > 0; --left) {
      sum = tinyopt_mac(sum, *x - window->range.zero_point, *weights);
      x += step;
      weights += channels;
    }
  }
  return sum;
}

/* Portable C. */
void tinyopt_dynamic_depthwise_conv2d_f32_ref(const tinyopt_dynamic_depthwise_conv2d_f32 *op, const float *input,
                                              float *output, void *scratch);

/* Arm DSP extension, four channels at a time; multiplier must be 1. */
void tinyopt_dynamic_depthwise_conv2d_f32_dsp(const tinyopt_dynamic_depthwise_conv2d_f32 *op, const float *input,
                                              float *output, void *scratch);

#endif
