/* What the kernels of this family share: one pixel after the other, its patch against each channel's weights. */
#include "xnor_conv2d.h"

/* The place of the output: exactly one of the two is not NULL. */
typedef struct {
  uint32_t *signs;
  int8_t *bytes;
} tinyopt_xnor_output;

/* Channels that are counted at a time: the bits of a word. */
#define TINYOPT_XNOR_BLOCK 32

/* Bit i is 1 where positives - 2 * counts[i] >= thresholds[i]. */
static inline uint32_t tinyopt_xnor_signs(const int32_t *counts, const int32_t *thresholds, int32_t positives,
                                          int32_t channels) {
  uint32_t word = 0;
  for (int32_t i = 0; i < channels; ++i) { /* the sign of a difference, from the top */
    uint32_t missing = (uint32_t)(thresholds[i] + 2 * counts[i] - positives - 1);
    word = (word >> 1) | (missing & 0x80000000u);
  }
  return word >> (TINYOPT_XNOR_BLOCK - channels);
}

static inline void tinyopt_xnor_bytes(const tinyopt_xnor_conv2d *op, const int32_t *counts, int32_t first,
                                      int32_t positives, int32_t channels, int8_t *output) {
  for (int32_t i = 0; i < channels; ++i) {
    int32_t channel = first + i;
    int32_t scale = channel * op->per_channel;
    output[i] = tinyopt_requantize_s8(positives - 2 * counts[i] + op->bias[channel], op->multipliers[scale],
                                      op->shifts[scale], op->output_zero_point, op->clamp_low, op->clamp_high);
  }
}

/* All channels of one pixel. `positives`: signs of the patch that lie inside the image. */
static inline void tinyopt_xnor_pixel(const tinyopt_xnor_conv2d *op, const uint32_t *patch, const uint32_t *inside,
                                      int32_t positives, tinyopt_xnor_output output) {
  const int32_t size = op->kernel_height * op->kernel_width * op->input_channels;
  int32_t counts[TINYOPT_XNOR_BLOCK];
  for (int32_t first = 0; first < op->output_channels; first += TINYOPT_XNOR_BLOCK) {
    int32_t channels = tinyopt_min(TINYOPT_XNOR_BLOCK, op->output_channels - first);
    tinyopt_count_differences(patch, inside, op->weights + first * size, size, channels, counts);
    if (output.bytes) {
      tinyopt_xnor_bytes(op, counts, first, positives, channels, output.bytes + first);
    } else {
      *output.signs++ = tinyopt_xnor_signs(counts, op->thresholds + first, positives, channels);
    }
  }
}

static TINYOPT_ALWAYS_INLINE void tinyopt_xnor_convolve(const tinyopt_xnor_conv2d *op, const void *input,
                                                        tinyopt_xnor_output output, uint32_t *scratch) {
  const int32_t size = op->kernel_height * op->kernel_width * op->input_channels;
  tinyopt_xnor_window window;
  window.image = input;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      window.input_y = y * op->stride_height - op->pad_top;
      window.rows = tinyopt_taps_inside(window.input_y, op->kernel_height, op->dilation_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        window.input_x = x * op->stride_width - op->pad_left;
        window.columns = tinyopt_taps_inside(window.input_x, op->kernel_width, op->dilation_width, op->input_width);
        int32_t taps = (window.rows.end - window.rows.first) * (window.columns.end - window.columns.first);
        if (taps == op->kernel_height * op->kernel_width) {
          const uint32_t *patch = tinyopt_xnor_tap(op, &window, 0, 0);
          if (!op->contiguous) {
            tinyopt_xnor_gather(op, &window, scratch, NULL);
            patch = scratch;
          }
          tinyopt_xnor_pixel(op, patch, NULL, taps * op->channels, output);
        } else {
          tinyopt_xnor_gather(op, &window, scratch, scratch + size);
          tinyopt_xnor_pixel(op, scratch, scratch + size, taps * op->channels, output);
        }
        if (output.bytes) {
          output.bytes += op->output_channels;
        } else {
          output.signs += (op->output_channels + 31) >> 5;
        }
      }
    }
    window.image += op->input_height * op->input_width * op->input_channels;
  }
}
