/* Convolution with the Arm DSP extension: two pixels by two output channels at a time. Four weights and four
 * activations are widened to pairs in the same order, so neither is rearranged and every SMLAD makes two products. */
#include "conv2d_s8.h"
#include "dsp.h"

/* Where one pixel's patch is, and where its outputs go. */
typedef struct {
  const int8_t *patch;
  int8_t *output; /* the first output channel of the group */
} pixel_t;

static int8_t finish(const tinyopt_conv2d_s8 *op, int32_t sum, int32_t channel) {
  int32_t i = channel * op->per_channel;
  return tinyopt_requantize_s8(sum, op->multipliers[i], op->shifts[i], op->output_zero_point, op->clamp_low,
                               op->clamp_high);
}

/* sum + four products. */
static inline int32_t add4(uint32_t x_even, uint32_t x_odd, uint32_t weights, int32_t sum) {
  sum = tinyopt_smlad(x_even, tinyopt_sxtb16(weights), sum);
  return tinyopt_smlad(x_odd, tinyopt_sxtb16_ror8(weights), sum);
}

/* Two channels of two pixels. sums: pixel 0 channels 0 and 1, pixel 1 channels 0 and 1. */
static inline void add_2x2(uint32_t x0, uint32_t x1, const int8_t *weights, int32_t *sums) {
  uint32_t first = tinyopt_load_s8x4(weights);
  uint32_t second = tinyopt_load_s8x4(weights + 4);
  uint32_t first_even = tinyopt_sxtb16(first);
  uint32_t first_odd = tinyopt_sxtb16_ror8(first);
  uint32_t second_even = tinyopt_sxtb16(second);
  uint32_t second_odd = tinyopt_sxtb16_ror8(second);
  uint32_t even = tinyopt_sxtb16(x0);
  uint32_t odd = tinyopt_sxtb16_ror8(x0);
  sums[0] = tinyopt_smlad(odd, first_odd, tinyopt_smlad(even, first_even, sums[0]));
  sums[1] = tinyopt_smlad(odd, second_odd, tinyopt_smlad(even, second_even, sums[1]));
  even = tinyopt_sxtb16(x1);
  odd = tinyopt_sxtb16_ror8(x1);
  sums[2] = tinyopt_smlad(odd, first_odd, tinyopt_smlad(even, first_even, sums[2]));
  sums[3] = tinyopt_smlad(odd, second_odd, tinyopt_smlad(even, second_even, sums[3]));
}

static void convolve_2x2(const tinyopt_conv2d_s8 *op, const pixel_t *pixels, const int8_t *weights, int32_t size,
                         int32_t channel, int32_t at) {
  const int8_t *x0 = pixels[0].patch;
  const int8_t *x1 = pixels[1].patch;
  int32_t sums[4] = {op->bias[channel], op->bias[channel + 1], op->bias[channel], op->bias[channel + 1]};
  for (const int8_t *end = x0 + (size & ~3); x0 != end; x0 += 4, x1 += 4, weights += 8) {
    add_2x2(tinyopt_load_s8x4(x0), tinyopt_load_s8x4(x1), weights, sums);
  }
  if (size & 3) {
    add_2x2(tinyopt_load_s8_tail(x0, size & 3), tinyopt_load_s8_tail(x1, size & 3), weights, sums);
  }
  pixels[0].output[at] = finish(op, sums[0], channel);
  pixels[0].output[at + 1] = finish(op, sums[1], channel + 1);
  pixels[1].output[at] = finish(op, sums[2], channel);
  pixels[1].output[at + 1] = finish(op, sums[3], channel + 1);
}

/* Two channels of one pixel. */
static void convolve_1x2(const tinyopt_conv2d_s8 *op, const pixel_t *pixel, const int8_t *weights, int32_t size,
                         int32_t channel, int32_t at) {
  const int8_t *x = pixel->patch;
  int32_t sum = op->bias[channel];
  int32_t next = op->bias[channel + 1];
  for (int32_t left = size; left > 0; left -= 4, x += 4, weights += 8) {
    uint32_t word = left < 4 ? tinyopt_load_s8_tail(x, left) : tinyopt_load_s8x4(x);
    uint32_t even = tinyopt_sxtb16(word);
    uint32_t odd = tinyopt_sxtb16_ror8(word);
    sum = add4(even, odd, tinyopt_load_s8x4(weights), sum);
    next = add4(even, odd, tinyopt_load_s8x4(weights + 4), next);
  }
  pixel->output[at] = finish(op, sum, channel);
  pixel->output[at + 1] = finish(op, next, channel + 1);
}

/* One channel of one pixel. */
static void convolve_1x1(const tinyopt_conv2d_s8 *op, const pixel_t *pixel, const int8_t *weights, int32_t size,
                         int32_t channel, int32_t at) {
  const int8_t *x = pixel->patch;
  int32_t sum = op->bias[channel];
  for (int32_t left = size; left > 0; left -= 4, x += 4, weights += 4) {
    uint32_t word = left < 4 ? tinyopt_load_s8_tail(x, left) : tinyopt_load_s8x4(x);
    sum = add4(tinyopt_sxtb16(word), tinyopt_sxtb16_ror8(word), tinyopt_load_s8x4(weights), sum);
  }
  pixel->output[at] = finish(op, sum, channel);
}

/* All channels of one group for one or two pixels. */
static void convolve_group(const tinyopt_conv2d_s8 *op, const pixel_t *pixels, int32_t count, int32_t group) {
  int32_t size = tinyopt_conv2d_s8_patch_size(op);
  int32_t padded = (size + 3) & ~3;
  int32_t channels = op->output_channels / op->groups;
  int32_t channel = group * channels;
  const int8_t *weights = op->weights + channel * padded;
  int32_t at = 0;
  for (; at + 1 < channels; at += 2) {
    if (count == 2) {
      convolve_2x2(op, pixels, weights, size, channel + at, at);
    } else {
      convolve_1x2(op, pixels, weights, size, channel + at, at);
    }
    weights += 2 * padded;
  }
  if (at < channels) {
    for (int32_t i = 0; i < count; ++i) {
      convolve_1x1(op, pixels + i, weights, size, channel + at, at);
    }
  }
}

void tinyopt_conv2d_s8_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  int32_t padded = (tinyopt_conv2d_s8_patch_size(op) + 3) & ~3;
  int32_t channels = op->output_channels / op->groups;
  int32_t pixels = op->output_height * op->output_width;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    int32_t y = 0;
    int32_t x = 0;
    for (int32_t done = 0; done < pixels; done += 2) {
      int32_t count = tinyopt_min(2, pixels - done);
      int32_t at_y[2] = {y, y};
      int32_t at_x[2] = {x, x + 1};
      if (at_x[1] == op->output_width) { /* the second pixel begins the next row */
        at_y[1] = y + 1;
        at_x[1] = 0;
      }
      for (int32_t group = 0; group < op->groups; ++group) {
        pixel_t pair[2];
        for (int32_t i = 0; i < count; ++i) {
          int8_t *patch = (int8_t *)scratch + i * padded;
          if (op->contiguous) {
            pair[i].patch = tinyopt_conv2d_s8_patch_at(op, input, at_y[i], at_x[i]);
          } else {
            tinyopt_conv2d_s8_gather(op, input, at_y[i], at_x[i], group, patch);
            pair[i].patch = patch;
          }
          pair[i].output = output + i * op->output_channels + group * channels;
        }
        convolve_group(op, pair, count, group);
      }
      output += count * op->output_channels;
      y = at_y[1];
      x = at_x[1] + 1;
      if (x == op->output_width) {
        ++y;
        x = 0;
      }
    }
    input += op->input_height * op->input_width * op->input_channels;
  }
}
