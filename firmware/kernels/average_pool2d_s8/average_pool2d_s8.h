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

/* Means without a division for each. With a reciprocal r a little larger than 2^bits / count, sum * r has the sign of
 * sum and is a little larger than the mean in magnitude, so that halves are rounded away from zero where the upper bits
 * of sum * r + 2^(bits - 1) are taken; bits that are cut off below do not matter. It is exact as long as what r is too
 * large by, times the largest sum, is less than the distance of any other mean to a half, 2^bits / (2 * count).
 *
 * The short reciprocal is for up to 255 elements and the upper 32 of 48 bits or more of a product; the narrow one
 * for up to 64 elements and products of 32 bits. */
enum { TINYOPT_SHORT_RECIPROCAL_BITS = 30, TINYOPT_MOST_NARROW = 64 };

#if defined(__ARM_ARCH_6M__)
/* No divider: bit by bit, which takes less code and time than the library's 32 bits. The quotient is below 2^17. */
static inline int32_t tinyopt_average_pool2d_s8_quotient(int32_t value, int32_t count) {
  uint32_t left = (uint32_t)value;
  int32_t quotient = 0;
  for (uint32_t part = (uint32_t)count << 16; part >= (uint32_t)count; part >>= 1) {
    quotient += quotient;
    if (left >= part) {
      left -= part;
      ++quotient;
    }
  }
  return quotient;
}
#else
static inline int32_t tinyopt_average_pool2d_s8_quotient(int32_t value, int32_t count) {
  return value / count;
}
#endif

/* sum / count to nearest, halves away from zero; count < 2^15, and the magnitude of the result is below 2^17. */
static inline int32_t tinyopt_average_pool2d_s8_divide(int32_t sum, int32_t count) {
  int32_t quotient = tinyopt_average_pool2d_s8_quotient((sum < 0 ? -sum : sum) + (count >> 1), count);
  return sum < 0 ? -quotient : quotient;
}

/* An output from the sum of `count` inputs, the input's zero point taken from each, where input and output have a
 * quantization each. */
static inline int8_t tinyopt_average_pool2d_s8_rescaled(const tinyopt_average_pool2d_s8 *op, int32_t sum,
                                                        int32_t count) {
  int32_t fine = tinyopt_average_pool2d_s8_divide(sum * 256, count);
  return tinyopt_requantize_s8(fine, op->multiplier, op->shift, op->output_zero_point, op->clamp_low, op->clamp_high);
}

/* count <= 255. */
static inline int32_t tinyopt_short_reciprocal(int32_t count) {
  return (1 << TINYOPT_SHORT_RECIPROCAL_BITS) / count + 1;
}

/* A reciprocal that uses all bits, for means with eight bits more: 2^(30 + bits) / count and a little more, where count
 * has bits + 1 bits. */
typedef struct {
  int32_t value;
  int32_t bits;
} tinyopt_long_reciprocal;

/* count <= 255. */
static inline tinyopt_long_reciprocal tinyopt_long_reciprocal_of(int32_t count) {
  int32_t bits = 0;
  while (count >> bits > 1) {
    ++bits;
  }
  int32_t quotient = (1 << 30) / count;
  int32_t remainder = (1 << 30) - quotient * count;
  return (tinyopt_long_reciprocal){(quotient << bits) + (remainder << bits) / count + 1, bits};
}

/* sum * 256 / count to nearest, halves away from zero, for a sum below 2^16. */
static inline int32_t tinyopt_fine_mean(int32_t sum, const tinyopt_long_reciprocal *reciprocal) {
  int32_t high = (int32_t)(((int64_t)(sum * (1 << 14)) * reciprocal->value) >> 32);
  return (high + (8 << reciprocal->bits)) >> (4 + reciprocal->bits);
}

/* A window inside the image: rows of pixels, `step` bytes apart; `pitch`: bytes from a row to the next. A window as
 * wide as the image is one row. */
typedef struct {
  const int8_t *from;
  int32_t height;
  int32_t width;
  int32_t pitch;
  int32_t step;
} tinyopt_average_pool2d_s8_window;

/* Writes the outputs of all channels of a window. */
typedef void tinyopt_average_pool2d_s8_function(const tinyopt_average_pool2d_s8 *op,
                                                const tinyopt_average_pool2d_s8_window *window, int8_t *output);

/* Every window of the image. */
static TINYOPT_ALWAYS_INLINE void tinyopt_average_pool2d_s8_windows(const tinyopt_average_pool2d_s8 *op,
                                                                    const int8_t *input, int8_t *output,
                                                                    tinyopt_average_pool2d_s8_function *function) {
  tinyopt_average_pool2d_s8_window window = {.pitch = op->input_width * op->channels, .step = op->channels};
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_window_inside(top, op->kernel_height, op->input_height);
      const int8_t *row = input + (top + rows.first) * window.pitch;
      for (int32_t x = 0; x < op->output_width; ++x, output += op->channels) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_window_inside(left, op->kernel_width, op->input_width);
        window.from = row + (left + columns.first) * window.step;
        window.height = rows.end - rows.first;
        window.width = columns.end - columns.first;
        if (window.width == op->input_width) { /* one row */
          window.width *= window.height;
          window.height = 1;
        }
        function(op, &window, output);
      }
    }
    input += op->input_height * window.pitch;
  }
}

/* Portable C; one quantization for input and output. */
void tinyopt_average_pool2d_s8_ref(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Portable C. */
void tinyopt_average_pool2d_s8_rescale_ref(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension; at least four channels, at most 255 elements in a window. The first: one quantization; the second:
 * the shift is to the right. */
void tinyopt_average_pool2d_s8_dsp(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);
void tinyopt_average_pool2d_s8_rescale_dsp(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE); at most 255 elements in a window. The first: one quantization; the second: the shift is to the right.
 */
void tinyopt_average_pool2d_s8_mve(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);
void tinyopt_average_pool2d_s8_rescale_mve(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output);

#endif
