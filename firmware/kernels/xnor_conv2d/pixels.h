/* What all kernels of this family do: one pixel after the other, patch against channels. A kernel's file defines
 * `count_patch(patch, weights, words)` before it includes this. */
#include "xnor_conv2d.h"

/* The sums of one output pixel, channel by channel, to int8 or to bits. */
static TINYOPT_ALWAYS_INLINE void finish_s8(const tinyopt_xnor_conv2d *op, int32_t channel, int32_t sum,
                                            int8_t *output) {
  int32_t i = channel * op->per_channel;
  output[channel] = tinyopt_requantize_s8(sum + op->bias[channel], op->multipliers[i], op->shifts[i],
                                          op->output_zero_point, op->clamp_low, op->clamp_high);
}

/* All channels of one pixel. Exactly one of `signs` and `bytes` is the output; the other is NULL. */
static TINYOPT_ALWAYS_INLINE void convolve_pixel(const tinyopt_xnor_conv2d *op, const tinyopt_xnor_window *window,
                                                 uint32_t *scratch, uint32_t *signs, int8_t *bytes) {
  const int32_t size = op->kernel_height * op->kernel_width * op->input_channels;
  const int32_t taps = (window->rows.end - window->rows.first) * (window->columns.end - window->columns.first);
  const int32_t inside = taps * op->channels;
  const bool whole = tinyopt_xnor_is_whole(op, window);
  const uint32_t *patch = whole ? tinyopt_xnor_patch(op, window, scratch) : NULL;
  const uint32_t *weights = op->weights;
  uint32_t word = 0;
  for (int32_t channel = 0; channel < op->output_channels; ++channel, weights += size) {
    int32_t count = whole ? count_patch(patch, weights, size) : tinyopt_xnor_differences(op, window, weights);
    int32_t sum = inside - 2 * count;
    if (bytes) {
      finish_s8(op, channel, sum, bytes);
      continue;
    }
    word |= (sum >= op->thresholds[channel] ? 1u : 0u) << (channel & 31);
    if ((channel & 31) == 31) {
      *signs++ = word;
      word = 0;
    }
  }
  if (signs && (op->output_channels & 31)) {
    *signs = word;
  }
}

static TINYOPT_ALWAYS_INLINE void convolve(const tinyopt_xnor_conv2d *op, const void *input, uint32_t *signs,
                                           int8_t *bytes, uint32_t *scratch) {
  const int32_t words = (op->output_channels + 31) >> 5;
  tinyopt_xnor_window window;
  window.image = input;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      window.input_y = y * op->stride_height - op->pad_top;
      window.rows = tinyopt_taps_inside(window.input_y, op->kernel_height, op->dilation_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        window.input_x = x * op->stride_width - op->pad_left;
        window.columns = tinyopt_taps_inside(window.input_x, op->kernel_width, op->dilation_width, op->input_width);
        convolve_pixel(op, &window, scratch, signs, bytes);
        if (bytes) {
          bytes += op->output_channels;
        } else {
          signs += words;
        }
      }
    }
    window.image += op->input_height * op->input_width * op->input_channels;
  }
}
