#include "average_pool2d_f32.h"

void tinyopt_average_pool2d_f32_ref(const tinyopt_average_pool2d_f32 *op, const float *input, float *output) {
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
        const float *window = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        for (int32_t c = 0; c < op->channels; ++c) {
          float sum = 0.0f;
          for (int32_t i = 0; i < height; ++i) {
            const float *pixel = window + i * pitch + c;
            for (int32_t j = 0; j < width; ++j) {
              sum += *pixel;
              pixel += op->channels;
            }
          }
          float value = sum / (float)(height * width);
          *output++ = value < op->clamp_low ? op->clamp_low : (value > op->clamp_high ? op->clamp_high : value);
        }
      }
    }
    input += op->input_height * pitch;
  }
}
