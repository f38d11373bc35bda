#include "average_pool2d_s8.h"

/* A function of its own: its loops need all registers that small cores have. */
TINYOPT_NEVER_INLINE static int32_t sum_of(const int8_t *row, int32_t height, int32_t width, int32_t pitch,
                                           int32_t step) {
  int32_t sum = 0;
  for (; height > 0; --height, row += pitch) {
    const int8_t *pixel = row;
    for (int32_t left = width; left > 0; --left, pixel += step) {
      sum += *pixel;
    }
  }
  return sum;
}

TINYOPT_NEVER_INLINE static tinyopt_taps taps_inside(int32_t origin, int32_t kernel, int32_t size) {
  return tinyopt_taps_inside(origin, kernel, 1, size);
}

static TINYOPT_ALWAYS_INLINE void pool(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output,
                                       bool rescale) {
  const int32_t pitch = op->input_width * op->channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = taps_inside(top, op->kernel_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = taps_inside(left, op->kernel_width, op->input_width);
        int32_t height = rows.end - rows.first;
        int32_t width = columns.end - columns.first;
        const int8_t *window = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        for (int32_t c = 0; c < op->channels; ++c) {
          int32_t sum = sum_of(window + c, height, width, pitch, op->channels);
          *output++ = tinyopt_average_pool2d_s8_mean(op, sum, height * width, rescale);
        }
      }
    }
    input += op->input_height * pitch;
  }
}

void tinyopt_average_pool2d_s8_ref(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  pool(op, input, output, false);
}

void tinyopt_average_pool2d_s8_rescale_ref(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  pool(op, input, output, true);
}
