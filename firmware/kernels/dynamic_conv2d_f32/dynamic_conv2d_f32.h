/* 2-D convolution of float32 tensors with int8 weights, whose input is rounded to int8 with a range of its own at every
 * run. A fully connected layer is one of a 1x1 image for each of its rows.
 *
 * input  float [batches][input_height][input_width][input_channels]
 * output float [batches][output_height][output_width][output_channels]
 *
 * The image of each batch becomes int8 with a scale and a zero point as dynamic.h says. output[b][y][x][o] =
 * clamp(sum * scales[o] * scale + bias[o]), where sum is the sum over ky, kx, c of weights[o][ky][kx][c] *
 * (patch[ky][kx][c] - zero point), and patch[ky][kx][c] is the integer at row y * stride_height - pad_top + ky *
 * dilation_height, column likewise, channel c + (group of o) * input_channels / groups; outside the image it is the
 * zero point. The sum is exact and the same on every core (its magnitude stays below 2^31 with up to 65,793 weights a
 * channel); float32 arithmetic behind it may differ by rounding. An image that holds NaN or infinity gives NaN.
 *
 * Pointers need no alignment beyond their element type. With one batch the output may be anywhere in the memory of the
 * input, since the input has become integers before the first output is written; else they must not overlap.
 * scratch: the int8 image of one batch, and see each kernel.
 */
#ifndef TINYOPT_DYNAMIC_CONV2D_F32_H
#define TINYOPT_DYNAMIC_CONV2D_F32_H

#include "conv2d_s8.h"
#include "dynamic.h"

typedef struct {
  const float *scales;   /* [output_channels], or [1] when per_channel is 0 */
  const float *bias;     /* [output_channels], or NULL */
  const int32_t *totals; /* [output_channels], the sum of each channel's weights; NULL when symmetric; read by ref */
  int32_t per_channel;   /* 1: a scale for every output channel; 0: one for all */
  int32_t symmetric;     /* 1: the zero point is 0 */
  float clamp_low;
  float clamp_high;
  tinyopt_conv2d_s8 window; /* weights, sizes, strides, padding, groups, contiguous; nothing that quantizes is read */
} tinyopt_dynamic_conv2d_f32;

/* A sum as an output. */
static inline float tinyopt_dynamic_conv2d_f32_finish(const tinyopt_dynamic_conv2d_f32 *op, int32_t sum, float scale,
                                                      int32_t channel) {
  float value = (float)sum * op->scales[channel * op->per_channel] * scale;
  if (op->bias) {
    value += op->bias[channel];
  }
  return tinyopt_clamp_f32(value, op->clamp_low, op->clamp_high);
}

/* Portable C. weights: [output_channels][kernel_height][kernel_width][input_channels / groups]. scratch: unless
 * contiguous, the patch of one group in bytes, too. */
void tinyopt_dynamic_conv2d_f32_ref(const tinyopt_dynamic_conv2d_f32 *op, const float *input, float *output,
                                    void *scratch);

/* Arm DSP extension. weights: as conv2d_s8_dsp. scratch: two int16 patches of one group, padded to a multiple of four
 * elements, and unless contiguous one in bytes, too; aligned to four bytes. */
void tinyopt_dynamic_conv2d_f32_dsp(const tinyopt_dynamic_conv2d_f32 *op, const float *input, float *output,
                                    void *scratch);

#endif
