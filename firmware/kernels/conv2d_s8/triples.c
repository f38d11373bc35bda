/* Convolution for cores without SIMD: three pixels by four output channels at a time, two multiplications for three
 * products. Patches are made into columns once, and every block of channels then runs past them. See triples.h. */
#include "triples.h"
#include "patches.h"

enum { PIXELS = 3, BLOCK = 4 };

/* Columns of the patches at three corners; an odd number of taps gets one of zeros. Returns the number of taps. */
__attribute__((noinline)) static int32_t make_columns(const tinyopt_conv2d_s8 *op, const int8_t *image,
                                                      const tinyopt_corner *corners, int32_t *columns, int8_t *edge) {
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
                                 : tinyopt_patch_row(op, image, &corners[i], ky, edge + i * row);
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

/* A and B of four channels of a block, or two; returns where the weights go on. */
static const int8_t *multiply(const int32_t *columns, const int8_t *weights, int32_t taps, int32_t channels,
                              int32_t *sums) {
  if (channels > 2) {
    tinyopt_triples_dot_4(columns, weights, taps / 2, sums);
    return weights + 4 * taps;
  }
  tinyopt_triples_dot_2(columns, weights, taps / 2, 4, sums);
  return weights + 2 * taps;
}

/* The sums of `channels` channels in three pixels without the last segment's, which is left in `sums`. */
__attribute__((noinline)) static const int8_t *sum_segments(const tinyopt_conv2d_s8 *op, const int32_t *columns,
                                                            const int8_t *weights, int32_t taps, int32_t channels,
                                                            int32_t *sums, int32_t *totals) {
  for (int32_t i = 0; i < PIXELS * channels; ++i) {
    totals[i] = 0;
  }
  for (; taps > op->segment; taps -= op->segment, columns += 2 * op->segment) {
    weights = multiply(columns, weights, op->segment, channels, sums);
    for (int32_t i = 0; i < channels; ++i) {
      int32_t more[PIXELS];
      tinyopt_triples_split(sums[2 * i], sums[2 * i + 1], more);
      for (int32_t pixel = 0; pixel < PIXELS; ++pixel) {
        totals[PIXELS * i + pixel] += more[pixel];
      }
    }
  }
  return multiply(columns, weights, taps, channels, sums);
}

/* All output channels of up to three pixels; output: the first one's channel 0. `outputs`: what all pixels share. A
 * function of its own, for its registers. */
__attribute__((noinline)) static void convolve_pixels(const tinyopt_conv2d_s8 *op, tinyopt_triples_outputs *outputs,
                                                      const int32_t *columns, int32_t taps, int8_t *output) {
  int32_t sums[2 * BLOCK];
  int32_t totals[PIXELS * BLOCK];
  const int8_t *weights = op->weights;
  outputs->multipliers = op->multipliers;
  outputs->shifts = op->shifts;
  outputs->bias = op->bias;
  outputs->output = output;
  for (int32_t left = op->output_channels; left > 0; left -= BLOCK) {
    int32_t channels = tinyopt_min(BLOCK, left);
    if (taps <= op->segment) {
      weights = multiply(columns, weights, taps, channels, sums);
    } else {
      weights = sum_segments(op, columns, weights, taps, channels, sums, totals);
      outputs->totals = totals;
    }
    outputs->sums = sums;
    outputs->channels = channels;
    tinyopt_triples_finish(outputs);
  }
}

void tinyopt_conv2d_s8_triples(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  int32_t *columns = scratch;
  int32_t patch = op->kernel_height * op->kernel_width * op->input_channels;
  int8_t *edge = (int8_t *)(columns + 2 * (patch + (patch & 1)));
  tinyopt_triples_outputs outputs = {
      .per_channel = op->per_channel,
      .step = op->output_channels,
      .offset = 2 * (op->output_zero_point - op->clamp_low) + 1,
      .low = op->clamp_low,
      .range = (uint32_t)(op->clamp_high - op->clamp_low),
  };
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    tinyopt_corner corner = {-op->pad_top, -op->pad_left};
    int32_t x = 0;
    for (int32_t left = op->output_height * op->output_width; left > 0; left -= PIXELS) {
      tinyopt_corner corners[PIXELS]; /* where pixels are missing at the end, the last one stands for them */
      int32_t pixels = tinyopt_min(PIXELS, left);
      for (int32_t i = 0; i < PIXELS; ++i) {
        if (i >= pixels) {
          corners[i] = corners[i - 1];
          continue;
        }
        corners[i] = corner;
        corner = tinyopt_next_corner(op, corner, &x);
      }
      int32_t taps = make_columns(op, input, corners, columns, edge);
      outputs.pixels = pixels;
      convolve_pixels(op, &outputs, columns, taps, output);
      output += pixels * op->output_channels;
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
