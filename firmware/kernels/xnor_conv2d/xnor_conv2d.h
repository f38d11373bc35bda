/* 2-D convolution of signs: activations and weights of -1 and 1, packed as bits.
 *
 * input uint32 [batches][input_height][input_width][words], words = channels / 32 rounded up; bit c % 32 of word c / 32
 * is 1 for +1 and 0 for -1, and 0 behind the last channel, as pack_signs writes them.
 * weights uint32 [output_channels][kernel_height][kernel_width][words], likewise.
 *
 * sum = sum over ky, kx, c of weights[o][ky][kx][c] * input at row y * stride_height - pad_top + ky * dilation_height,
 * column likewise, channel c, as -1 and 1. Taps outside the image add nothing: the padding is zero.
 *
 * ..._s8: output int8 [batches][output_height][output_width][output_channels] =
 *   clamp(requantize(sum + bias[o], multiplier[o], shift[o]) + output_zero_point),
 *   which equals conv2d_s8 on int8 signs bit for bit.
 * ..._bits: output uint32 [batches][output_height][output_width][output_channels / 32 rounded up], packed again: bit o
 *   is 1 where sum >= thresholds[o]. Batch norm, bias, requantization and the next sign are in the thresholds.
 *
 * Input and output must not overlap. scratch: twice the words of a patch, unless contiguous is 1.
 *
 * ..._sliced and ..._mve store the same weights by outputs: uint32 [output_channels / 32 rounded up][kernel_height *
 * kernel_width * channels + 1], bit o % 32 of a word for output o, and a last word of zeros. In the place of thresholds
 * are limits (sliced.h says of what): uint32 [3][output_channels / 32 rounded up][planes + 1], bit o % 32 of word p
 * being bit p of output o's limit. The third set is for pixels at the border, and not there without padding. scratch:
 * two bytes for every sign of a patch, and for 64 more.
 */
#ifndef TINYOPT_XNOR_CONV2D_H
#define TINYOPT_XNOR_CONV2D_H

#include "common.h"
#include "signs.h"
#include "window.h"

typedef struct {
  const uint32_t *weights;
  const int32_t *thresholds;  /* [output_channels]; of ..._bits */
  const uint32_t *limits;     /* of ..._bits_sliced and ..._bits_mve, where there are no thresholds */
  const int32_t *totals;      /* [output_channels]: weights that are 1; of ..._s8_sliced and ..._s8_mve */
  int32_t planes;             /* bits of a count of the signs of a patch; of these four */
  const int32_t *bias;        /* [output_channels]; this and the next fields of ..._s8 */
  const int32_t *multipliers; /* [output_channels], or [1] when per_channel is 0 */
  const int8_t *shifts;       /* as multipliers */
  int32_t per_channel;        /* 1: a multiplier for every output channel; 0: one for all */
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
  int32_t channels; /* signs of an input pixel */
  int32_t batches;
  int32_t input_height;
  int32_t input_width;
  int32_t input_channels; /* words of an input pixel */
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
  int32_t contiguous; /* 1: every patch lies whole and unbroken in the input, so it is read where it is */
} tinyopt_xnor_conv2d;

/* The pixels of an output, one after the other, and what of the window of the present one lies inside the image. */
typedef struct {
  const uint32_t *image;
  int32_t input_y;
  int32_t input_x;
  tinyopt_taps rows;
  tinyopt_taps columns;
} tinyopt_xnor_window;

static inline bool tinyopt_xnor_is_whole(const tinyopt_xnor_conv2d *op, const tinyopt_xnor_window *window) {
  return window->rows.end - window->rows.first == op->kernel_height &&
         window->columns.end - window->columns.first == op->kernel_width;
}

/* The input at a tap. */
static inline const uint32_t *tinyopt_xnor_tap(const tinyopt_xnor_conv2d *op, const tinyopt_xnor_window *window,
                                               int32_t ky, int32_t kx) {
  int32_t row = window->input_y + ky * op->dilation_height;
  int32_t column = window->input_x + kx * op->dilation_width;
  return window->image + (row * op->input_width + column) * op->input_channels;
}

/* Copy the taps of a window that lie inside the image, [kernel_height][kernel_width][words]; the others are 0. With
 * `inside` not NULL, write there which words are which: all bits set, or 0. */
static inline void tinyopt_xnor_gather(const tinyopt_xnor_conv2d *op, const tinyopt_xnor_window *window,
                                       uint32_t *patch, uint32_t *inside) {
  for (int32_t ky = 0; ky < op->kernel_height; ++ky) {
    for (int32_t kx = 0; kx < op->kernel_width; ++kx) {
      bool valid =
          ky >= window->rows.first && ky < window->rows.end && kx >= window->columns.first && kx < window->columns.end;
      const uint32_t *from = valid ? tinyopt_xnor_tap(op, window, ky, kx) : NULL;
      for (int32_t i = 0; i < op->input_channels; ++i) {
        *patch++ = from ? from[i] : 0u;
        if (inside) {
          *inside++ = from ? ~0u : 0u;
        }
      }
    }
  }
}

/* Portable C. */
void tinyopt_xnor_conv2d_s8_ref(const tinyopt_xnor_conv2d *op, const int32_t *input, int8_t *output, void *scratch);
void tinyopt_xnor_conv2d_bits_ref(const tinyopt_xnor_conv2d *op, const int32_t *input, int32_t *output, void *scratch);

/* Portable C, 32 output channels at a time. */
void tinyopt_xnor_conv2d_s8_sliced(const tinyopt_xnor_conv2d *op, const int32_t *input, int8_t *output, void *scratch);
void tinyopt_xnor_conv2d_bits_sliced(const tinyopt_xnor_conv2d *op, const int32_t *input, int32_t *output,
                                     void *scratch);

/* The same with Helium. */
void tinyopt_xnor_conv2d_s8_mve(const tinyopt_xnor_conv2d *op, const int32_t *input, int8_t *output, void *scratch);
void tinyopt_xnor_conv2d_bits_mve(const tinyopt_xnor_conv2d *op, const int32_t *input, int32_t *output, void *scratch);

#endif
