#include "max_pool2d_f32.h"

#include <float.h>

/* Raise each channel of `best` to that of `pixel`. */
static void keep_larger(float *best, const float *pixel, int32_t channels) {
  for (int32_t c = 0; c < channels; ++c) {
    if (pixel[c] > best[c]) {
      best[c] = pixel[c];
    }
  }
}

void tinyopt_max_pool2d_f32_ref(const tinyopt_max_pool2d_f32 *op, const float *input, float *output) {
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_window_inside(top, op->kernel_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_window_inside(left, op->kernel_width, op->input_width);
        for (int32_t c = 0; c < op->channels; ++c) {
          output[c] = -FLT_MAX;
        }
        for (int32_t i = rows.first; i < rows.end; ++i) {
          for (int32_t j = columns.first; j < columns.end; ++j) {
            keep_larger(output, input + ((top + i) * op->input_width + left + j) * op->channels, op->channels);
          }
        }
        for (int32_t c = 0; c < op->channels; ++c) {
          float value = output[c];
          output[c] = value < op->clamp_low ? op->clamp_low : (value > op->clamp_high ? op->clamp_high : value);
        }
        output += op->channels;
      }
    }
    input += op->input_height * op->input_width * op->channels;
  }
}
