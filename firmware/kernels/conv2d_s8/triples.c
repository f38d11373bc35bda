/* Convolution for cores without SIMD: three pixels by four output channels at a time, two multiplications for three
 * products. Patches are made into columns once, and every block of channels then runs past them. See triples.h. */
#include "triples.h"
#include "conv2d_s8.h"
#include "narrow.h"

enum { PIXELS = 3, BLOCK = 4 };

typedef struct {
  int32_t y, x; /* of the patch's first tap in the input, perhaps outside */
} corner_t;

/* Where row `ky` of a patch lies: in the image, or gathered into `edge` when it is not whole there. */
static const int8_t *patch_row(const tinyopt_conv2d_s8 *op, const int8_t *image, corner_t corner, int32_t ky,
                               int8_t *edge) {
  int32_t channels = op->input_channels;
  int32_t y = corner.y + ky * op->dilation_height;
  if (y < 0 || y >= op->input_height) {
    memset(edge, op->input_zero_point, (size_t)(op->kernel_width * channels));
    return edge;
  }
  const int8_t *row = image + y * op->input_width * channels;
  bool unbroken = op->dilation_width == 1 || op->kernel_width == 1;
  if (unbroken && corner.x >= 0 && corner.x + op->kernel_width <= op->input_width) {
    return row + corner.x * channels;
  }
  tinyopt_conv2d_s8_gather_row(op, row, corner.x, edge);
  return edge;
}

/* Columns of the patches at three corners; an odd number of taps gets one of zeros. Returns the number of taps. */
static int32_t make_columns(const tinyopt_conv2d_s8 *op, const int8_t *image, const corner_t *corners, int32_t *columns,
                            int8_t *edge) {
  int32_t row = op->kernel_width * op->input_channels;
  int32_t rows = op->kernel_height;
  if (op->contiguous) { /* the whole patch is one row */
    row *= rows;
    rows = 1;
  }
  int32_t *next = columns;
  for (int32_t ky = 0; ky < rows; ++ky) {
    const int8_t *pixels[PIXELS];
    for (int32_t i = 0; i < PIXELS; ++i) {
      pixels[i] = op->contiguous ? image + (corners[i].y * op->input_width + corners[i].x) * op->input_channels
                                 : patch_row(op, image, corners[i], ky, edge + i * row);
    }
    next = tinyopt_triples_columns(pixels, row, next);
  }
  if ((row * rows) & 1) {
    next[0] = 0;
    next[1] = 0;
    next += 2;
  }
  return (int32_t)(next - columns) / 2;
}

/* Sums of `count` channels in three pixels, [channels][pixels], the bias included. Returns the next block's weights. */
static const int8_t *sum_block(const tinyopt_conv2d_s8 *op, const int32_t *columns, const int8_t *weights, int32_t taps,
                               const int32_t *bias, int32_t count, int32_t *totals) {
  for (int32_t i = 0; i < count; ++i) {
    totals[PIXELS * i] = totals[PIXELS * i + 1] = totals[PIXELS * i + 2] = bias[i];
  }
  for (int32_t left = taps; left > 0; left -= op->segment) {
    int32_t sums[2 * BLOCK];
    int32_t now = tinyopt_min(left, op->segment);
    if (count > 2) {
      tinyopt_triples_dot_4(columns, weights, now / 2, sums);
      weights += 4 * now;
    } else {
      tinyopt_triples_dot_2(columns, weights, now / 2, 4, sums);
      weights += 2 * now;
    }
    for (int32_t i = 0; i < count; ++i) {
      tinyopt_triples_add(sums[2 * i], sums[2 * i + 1], totals + PIXELS * i);
    }
    columns += 2 * now;
  }
  return weights;
}

/* All output channels of up to three pixels. output: the first pixel's channel 0. */
static void convolve_pixels(const tinyopt_conv2d_s8 *op, const tinyopt_narrow *narrow, const int32_t *columns,
                            int32_t taps, int32_t pixels, int8_t *output) {
  const int8_t *weights = op->weights;
  int32_t channels = op->output_channels;
  for (int32_t channel = 0; channel < channels; channel += BLOCK) {
    int32_t totals[PIXELS * BLOCK];
    int32_t count = tinyopt_min(BLOCK, channels - channel);
    weights = sum_block(op, columns, weights, taps, op->bias + channel, count, totals);
    for (int32_t i = 0; i < count; ++i) {
      int32_t scale = (channel + i) * op->per_channel;
      int32_t multiplier = op->multipliers[scale];
      int32_t right = -op->shifts[scale] - 1;
      int8_t *out = output + channel + i;
      for (int32_t pixel = 0; pixel < pixels; ++pixel, out += channels) {
        *out = tinyopt_narrow_s8(narrow, totals[PIXELS * i + pixel], multiplier, right);
      }
    }
  }
}

void tinyopt_conv2d_s8_triples(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  int32_t *columns = scratch;
  int32_t patch = tinyopt_conv2d_s8_patch_size(op);
  int8_t *edge = (int8_t *)(columns + 2 * (patch + (patch & 1)));
  tinyopt_narrow narrow = tinyopt_narrow_output(op->output_zero_point, op->clamp_low, op->clamp_high);
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    corner_t corner = {-op->pad_top, -op->pad_left};
    int32_t x = 0;
    for (int32_t left = op->output_height * op->output_width; left > 0; left -= PIXELS) {
      corner_t corners[PIXELS]; /* where pixels are missing at the end, the last one stands for them */
      int32_t pixels = tinyopt_min(PIXELS, left);
      for (int32_t i = 0; i < PIXELS; ++i) {
        if (i >= pixels) {
          corners[i] = corners[i - 1];
          continue;
        }
        corners[i] = corner;
        corner.x += op->stride_width;
        if (++x == op->output_width) {
          x = 0;
          corner.x = -op->pad_left;
          corner.y += op->stride_height;
        }
      }
      int32_t taps = make_columns(op, input, corners, columns, edge);
      convolve_pixels(op, &narrow, columns, taps, pixels, output);
      output += pixels * op->output_channels;
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
