#include "max_pool2d_s8.h"

/* Raise each channel of `best` to that of `pixel`. */
static void keep_larger(int8_t *best, const int8_t *pixel, int32_t channels) {
  for (int32_t c = 0; c < channels; ++c) {
    if (pixel[c] > best[c]) {
      best[c] = pixel[c];
    }
  }
}

/* A window of `height` x `width` pixels from `pixel`; `jump`: bytes from behind a row to the next. */
static void pool(const tinyopt_max_pool2d_s8 *op, const int8_t *pixel, int32_t height, int32_t width, int32_t jump,
                 int8_t *output) {
  const int32_t channels = op->channels;
  memcpy(output, pixel, (size_t)channels);
  pixel += channels;
  int32_t left = width - 1;
  for (int32_t rows = height; rows > 0; --rows, left = width, pixel += jump) {
    for (; left > 0; --left, pixel += channels) {
      keep_larger(output, pixel, channels);
    }
  }
  if (op->clamp_low > INT8_MIN || op->clamp_high < INT8_MAX) {
    for (int32_t c = 0; c < channels; ++c) {
      output[c] = (int8_t)tinyopt_clamp(output[c], op->clamp_low, op->clamp_high);
    }
  }
}

void tinyopt_max_pool2d_s8_ref(const tinyopt_max_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  const int32_t pitch = op->input_width * op->channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_window_inside(top, op->kernel_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x, output += op->channels) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_window_inside(left, op->kernel_width, op->input_width);
        int32_t width = columns.end - columns.first;
        const int8_t *from = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        pool(op, from, rows.end - rows.first, width, pitch - width * op->channels, output);
      }
    }
    input += op->input_height * pitch;
  }
}
