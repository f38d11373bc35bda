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
  int32_t rescale; /* 0: one quantization; the fields up to output_zero_point are not read */
  int32_t input_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_average_pool2d_s8;

/* sum / count to nearest, halves away from zero; count < 2^15, and the magnitude of the result is below 2^17. */
static inline int32_t tinyopt_average_pool2d_s8_divide(int32_t sum, int32_t count) {
#if defined(__ARM_ARCH_6M__)
  /* No divider: bit by bit, which takes less code and time than the library's 32 bits. */
  uint32_t left = (uint32_t)(sum < 0 ? -sum : sum) + ((uint32_t)count >> 1);
  int32_t quotient = 0;
  for (uint32_t part = (uint32_t)count << 16; part >= (uint32_t)count; part >>= 1) {
    quotient += quotient;
    if (left >= part) {
      left -= part;
      ++quotient;
    }
  }
  return sum < 0 ? -quotient : quotient;
#else
  int32_t half = count >> 1;
  return (sum + (sum > 0 ? half : -half)) / count;
#endif
}

/* An output from the sum of `count` inputs. rescale is op->rescale, as a constant where the caller knows it. */
static inline int8_t tinyopt_average_pool2d_s8_mean(const tinyopt_average_pool2d_s8 *op, int32_t sum, int32_t count,
                                                    bool rescale) {
  if (rescale) {
    int32_t fine = tinyopt_average_pool2d_s8_divide((sum - count * op->input_zero_point) * 256, count);
    return tinyopt_requantize_s8(fine, op->multiplier, op->shift, op->output_zero_point, op->clamp_low, op->clamp_high);
  }
  int32_t mean = tinyopt_average_pool2d_s8_divide(sum, count);
  return (int8_t)tinyopt_clamp(mean, op->clamp_low, op->clamp_high);
}

/* Portable C; one quantization for input and output. */
void tinyopt_average_pool2d_s8_ref(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Portable C. */
void tinyopt_average_pool2d_s8_rescale_ref(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension; at least four channels, at most 255 elements in a window. The first: one quantization. */
void tinyopt_average_pool2d_s8_dsp(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);
void tinyopt_average_pool2d_s8_rescale_dsp(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE). */
void tinyopt_average_pool2d_s8_mve(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

#endif
