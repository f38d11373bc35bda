/* Depthwise convolution of int16 activations with the Arm DSP extension: four channels at a time. Sums without their
 * bias fit 32 bits. */
#include "depthwise_conv2d_s16.h"
#include "dsp.h"

enum { GROUP = 4 };

/* What a window covers: `rows` by `columns` taps inside the image. */
typedef struct {
  int32_t rows;
  int32_t columns;
  int32_t step; /* activations between taps */
  int32_t row_step;
  int32_t weights_row_step;
} window_t;

static void sum_4(const window_t *window, const int16_t *x, const int8_t *weights, int32_t channels,
                  int32_t sums[GROUP]) {
  int32_t sum0 = 0;
  int32_t sum1 = 0;
  int32_t sum2 = 0;
  int32_t sum3 = 0;
  for (int32_t row = 0; row < window->rows; ++row) {
    const int16_t *from = x + row * window->row_step;
    const int8_t *taps = weights + row * window->weights_row_step;
    for (int32_t left = window->columns; left > 0; --left) {
      uint32_t word = tinyopt_load_s8x4(taps);
      uint32_t x_low = tinyopt_load_s16x2(from);
      uint32_t x_high = tinyopt_load_s16x2(from + 2);
      uint32_t low = tinyopt_sxtb16(word);
      uint32_t high = tinyopt_sxtb16_ror8(word);
      sum0 = tinyopt_smlabb(x_low, low, sum0);
      sum1 = tinyopt_smlatt(x_low, low, sum1);
      sum2 = tinyopt_smlabb(x_high, high, sum2);
      sum3 = tinyopt_smlatt(x_high, high, sum3);
      from += window->step;
      taps += channels;
    }
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}

static int32_t sum_1(const window_t *window, const int16_t *x, const int8_t *weights, int32_t channels) {
  int32_t sum = 0;
  for (int32_t row = 0; row < window->rows; ++row) {
    for (int32_t column = 0; column < window->columns; ++column) {
      sum += x[row * window->row_step + column * window->step] *
             weights[row * window->weights_row_step + column * channels];
    }
  }
  return sum;
}

/* All channels of one output pixel. */
static void convolve_pixel(const tinyopt_depthwise_conv2d_s16 *op, const window_t *window, const int16_t *x,
                           const int8_t *weights, int16_t *output) {
  int32_t channels = op->input_channels;
  int32_t count = 1;
  for (int32_t first = 0; first < channels; first += count) {
    int32_t sums[GROUP];
    count = channels - first < GROUP ? 1 : GROUP;
    if (count == GROUP) {
      sum_4(window, x + first, weights + first, channels, sums);
    } else {
      sums[0] = sum_1(window, x + first, weights + first, channels);
    }
    for (int32_t c = 0; c < count; ++c) {
      int32_t i = (first + c) * op->per_channel;
      int64_t sum = sums[c] + (op->bias ? op->bias[first + c] : 0);
      output[first + c] =
          tinyopt_requantize_s16(sum, op->multipliers[i], op->shifts[i], op->wide_sums, op->clamp_low, op->clamp_high);
    }
  }
}

void tinyopt_depthwise_conv2d_s16_dsp(const tinyopt_depthwise_conv2d_s16 *op, const int16_t *input, int16_t *output) {
  int32_t channels = op->input_channels;
  window_t window = {.step = op->dilation_width * channels, .weights_row_step = op->kernel_width * channels};
  window.row_step = op->dilation_height * op->input_width * channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t input_y = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_taps_inside(input_y, op->kernel_height, op->dilation_height, op->input_height);
      window.rows = rows.end - rows.first;
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t input_x = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_taps_inside(input_x, op->kernel_width, op->dilation_width, op->input_width);
        window.columns = columns.end - columns.first;
        int32_t corner = 0; /* a window outside the image reads nothing */
        int32_t tap = 0;
        if (window.rows > 0 && window.columns > 0) {
          corner = (input_y * op->input_width + input_x) * channels + rows.first * window.row_step +
                   columns.first * window.step;
          tap = rows.first * window.weights_row_step + columns.first * channels;
        }
        convolve_pixel(op, &window, input + corner, op->weights + tap, output);
        output += channels;
      }
    }
    input += op->input_height * op->input_width * channels;
  }
}
