#include "average_pool2d_s16.h"

/* sum / count to nearest, halves away from zero. */
static int32_t divide(int32_t sum, int32_t count) {
  return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

void tinyopt_average_pool2d_s16_ref(const tinyopt_average_pool2d_s16 *op, const int16_t *input, int16_t *output) {
  const int32_t pitch = op->input_width * op->channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_window_inside(top, op->kernel_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_window_inside(left, op->kernel_width, op->input_width);
        int32_t height = rows.end - rows.first;
        int32_t width = columns.end - columns.first;
        const int16_t *window = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        for (int32_t c = 0; c < op->channels; ++c) {
          int32_t sum = 0;
          for (int32_t i = 0; i < height; ++i) {
            const int16_t *pixel = window + i * pitch + c;
            for (int32_t j = 0; j < width; ++j) {
              sum += *pixel;
              pixel += op->channels;
            }
          }
          int32_t mean = divide(sum, height * width);
          *output++ = (int16_t)tinyopt_clamp(mean, op->clamp_low, op->clamp_high);
        }
      }
    }
    input += op->input_height * pitch;
  }
}
