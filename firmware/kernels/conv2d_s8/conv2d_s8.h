/* 2-D convolution, int8 activations and weights.
 *
 * input  int8 [batches][input_height][input_width][input_channels]
 * output int8 [batches][output_height][output_width][output_channels]
 *
 * output[b][y][x][o] = clamp(requantize(sum, multiplier[o], shift[o]) + output_zero_point), where
 * sum = bias[o] + sum over ky, kx, c of weights[o][ky][kx][c] * patch[ky][kx][c], modulo 2^32, and
 * patch[ky][kx][c] is the input at row y * stride_height - pad_top + ky * dilation_height, column likewise, channel
 * c + (group of o) * input_channels / groups; outside the image it is input_zero_point. The bias holds the model's bias
 * minus input_zero_point times the sum of the channel's weights, so that no kernel subtracts the zero point.
 * This equals TensorFlow Lite Micro's reference kernel bit for bit.
 *
 * Pointers need no alignment beyond their element type. Input and output must not overlap, unless a kernel says so.
 * scratch: see each kernel.
 */
#ifndef TINYOPT_CONV2D_S8_H
#define TINYOPT_CONV2D_S8_H

#include "common.h"
#include "window.h"

typedef struct {
  const int8_t *weights;      /* in the kernel's own order */
  const int32_t *bias;        /* [output_channels], input zero point folded in */
  const int32_t *multipliers; /* [output_channels], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers */
  int32_t per_channel;        /* 1: a multiplier for every output channel; 0: one for all */
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
  int32_t contiguous; /* 1: every patch lies whole and unbroken in the input, so it is read where it is */
  int32_t segment;    /* taps whose products are summed at a time, even; read by triples alone */
  int32_t input_zero_point;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_conv2d_s8;

/* Elements of the patch of one group. */
static inline int32_t tinyopt_conv2d_s8_patch_size(const tinyopt_conv2d_s8 *op) {
  return op->kernel_height * op->kernel_width * (op->input_channels / op->groups);
}

/* Write one row of taps of a patch; `row`: the input row at the first channel of the group. */
static inline void tinyopt_conv2d_s8_gather_row(const tinyopt_conv2d_s8 *op, const int8_t *row, int32_t input_x,
                                                int8_t *patch) {
  int32_t depth = op->input_channels / op->groups;
  tinyopt_taps inside = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
  memset(patch, op->input_zero_point, (size_t)(op->kernel_width * depth));
  if (op->dilation_width == 1 && op->groups == 1 && inside.first < inside.end) { /* the taps lie side by side */
    memcpy(patch + inside.first * depth, row + (input_x + inside.first) * depth,
           (size_t)((inside.end - inside.first) * depth));
    return;
  }
  for (int32_t kx = inside.first; kx < inside.end; ++kx) {
    const int8_t *tap = row + (input_x + kx * op->dilation_width) * op->input_channels;
    memcpy(patch + kx * depth, tap, (size_t)depth);
  }
}

/* Write the patch of one output pixel and group, [kernel_height][kernel_width][input_channels / groups]. `image`: the
 * input of the batch. */
static inline void tinyopt_conv2d_s8_gather(const tinyopt_conv2d_s8 *op, const int8_t *image, int32_t output_y,
                                            int32_t output_x, int32_t group, int8_t *patch) {
  int32_t depth = op->input_channels / op->groups;
  int32_t input_x = output_x * op->stride_width - op->pad_left;
  for (int32_t ky = 0; ky < op->kernel_height; ++ky) {
    int32_t input_y = output_y * op->stride_height - op->pad_top + ky * op->dilation_height;
    if (input_y < 0 || input_y >= op->input_height) {
      memset(patch, op->input_zero_point, (size_t)(op->kernel_width * depth));
    } else {
      const int8_t *row = image + input_y * op->input_width * op->input_channels + group * depth;
      tinyopt_conv2d_s8_gather_row(op, row, input_x, patch);
    }
    patch += op->kernel_width * depth;
  }
}

/* Where the patch of an output pixel begins in the input, for contiguous patches. */
static inline const int8_t *tinyopt_conv2d_s8_patch_at(const tinyopt_conv2d_s8 *op, const int8_t *image,
                                                       int32_t output_y, int32_t output_x) {
  int32_t pixel = output_y * op->stride_height * op->input_width + output_x * op->stride_width;
  return image + pixel * op->input_channels;
}

/* Portable C. weights: [output_channels][kernel_height][kernel_width][input_channels / groups].
 * scratch: the patch of one group in bytes, or 0 when contiguous. */
void tinyopt_conv2d_s8_ref(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* Portable C and Armv6-M assembly, three pixels by four output channels at a time, two multiplications for three
 * products; groups must be 1. weights: the blocks of triples.h, aligned to four. Every sum is below 2^23, that of every
 * segment of taps, without the bias, below 2^20 - 2^10; every shift is to the right. scratch: the columns, 8 bytes per
 * tap, taps padded to an even number, and behind them three rows of taps unless contiguous. In place: as dsp_4x2; the
 * inputs of three pixels are read before their outputs are written. */
void tinyopt_conv2d_s8_triples(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* Arm DSP extension. weights: per group, the rows of pairs of output channels interleaved by four weights, the last odd
 * channel behind them; every row of kernel_height * kernel_width * input_channels / groups weights is padded with zeros
 * to a multiple of four. scratch: two patches of one group, each padded to a multiple of four bytes, or 0 when
 * contiguous. */
void tinyopt_conv2d_s8_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* Arm DSP extension, four pixels by two output channels at a time; groups must be 1. weights: the stream of words of
 * blocks_dsp.h, aligned to four bytes, which holds bias, multipliers and shifts too (those fields are not read). A run
 * is a row of the kernel, a tap when dilated, or the whole patch when contiguous. scratch: 16 bytes per word of a
 * pixel; and unless contiguous a window of the padded image and 3 bytes: rows from the first to the last tap, and where
 * the output width is no multiple of four, stride_height * ((output_width + 2) / output_width) more. In place: a 1x1
 * convolution of stride 1 without padding may have its output begin where its input begins, if it has no more channels.
 * Any other may write over inputs that it has read: pixels are computed in order, and all inputs of four pixels (at the
 * end, of one) are read, or all rows of the window, before outputs are written. */
void tinyopt_conv2d_s8_dsp_4x2(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* The same where clamp_low is at least output_zero_point, with the stream for such outputs. */
void tinyopt_conv2d_s8_dsp_4x2_relu(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* Helium (MVE), two pixels by four output channels at a time; groups must be 1. weights: the stream of bytes of
 * blocks_mve.h with one run, aligned to four, which holds bias, multipliers and shifts too (those fields are not read).
 * scratch: two patches, each padded to a multiple of 16 bytes. In place: as dsp_4x2. */
void tinyopt_conv2d_s8_mve(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* As mve, without copying patches that lie inside the image; dilation_width must be 1. The stream has one run per row
 * of the kernel. scratch: two patches, every row padded to a multiple of 16 bytes. The output may reach into the input
 * where the outputs of two pixels end before their inputs, and all that are read later, begin. */
void tinyopt_conv2d_s8_mve_rows(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

#endif
