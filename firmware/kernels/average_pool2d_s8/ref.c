#include "average_pool2d_s8.h"

/* sum / count to nearest, halves away from zero. */
static int32_t divide(int32_t sum, int32_t count) {
  int32_t half = count >> 1;
  return (sum + (sum > 0 ? half : -half)) / count;
}

static int8_t mean(const tinyopt_average_pool2d_s8 *op, int32_t sum, int32_t count) {
  int32_t value = divide(op->rescale ? (sum - count * op->input_zero_point) * 256 : sum, count);
  if (op->rescale) {
    return tinyopt_requantize_s8(value, op->multiplier, op->shift, op->output_zero_point, op->clamp_low,
                                 op->clamp_high);
  }
  return (int8_t)tinyopt_clamp(value, op->clamp_low, op->clamp_high);
}

void tinyopt_average_pool2d_s8_ref(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  const int32_t pitch = op->input_width * op->channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_taps_inside(top, op->kernel_height, 1, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_taps_inside(left, op->kernel_width, 1, op->input_width);
        int32_t height = rows.end - rows.first;
        int32_t width = columns.end - columns.first;
        const int8_t *window = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        for (int32_t c = 0; c < op->channels; ++c) {
          int32_t sum = 0;
          for (int32_t i = 0; i < height; ++i) {
            const int8_t *pixel = window + i * pitch + c;
            for (int32_t j = 0; j < width; ++j) {
              sum += *pixel;
              pixel += op->channels;
            }
          }
          *output++ = mean(op, sum, height * width);
        }
      }
    }
    input += op->input_height * pitch;
  }
}
