#include "average_pool2d_s8.h"

/* Where the elements of a window are; for more than one row, as small windows have. */
typedef struct {
  int32_t height;
  int32_t width;
  int32_t step; /* bytes from a pixel to the next */
  int32_t jump; /* bytes from behind a row to the next */
} window_t;

/* Functions of their own: their loops need all registers that small cores have. */
TINYOPT_NEVER_INLINE static int32_t sum_of(const int8_t *pixel, const window_t *window) {
  int32_t sum = 0;
  const int32_t step = window->step;
  const int32_t jump = window->jump;
  const int32_t width = window->width;
  int32_t rows = window->height;
  do {
    int32_t left = width;
    do {
      sum += *pixel;
      pixel += step;
    } while (--left > 0);
    pixel += jump;
  } while (--rows > 0);
  return sum;
}

TINYOPT_NEVER_INLINE static int32_t sum_of_line(const int8_t *pixel, int32_t count, int32_t step) {
  int32_t sum = 0;
  for (; count > 3; count -= 4) {
    sum += *pixel;
    pixel += step;
    sum += *pixel;
    pixel += step;
    sum += *pixel;
    pixel += step;
    sum += *pixel;
    pixel += step;
  }
  for (; count > 0; --count, pixel += step) {
    sum += *pixel;
  }
  return sum;
}

/* How windows of `count` elements are divided: up to TINYOPT_MOST_NARROW of them by a product. */
typedef struct {
  int32_t count;
  int32_t reciprocal;
  int32_t half;
  int32_t shift;
} divisor_t;

/* A function of its own, as it is for few windows only that the count is another than before. */
TINYOPT_NEVER_INLINE static void prepare(divisor_t *divisor, int32_t count) {
  int32_t shift = 15;
  while (count >> (shift - 15) > 1) {
    ++shift;
  }
  divisor->count = count;
  divisor->shift = shift;
  divisor->half = 1 << (shift - 1);
  divisor->reciprocal = tinyopt_average_pool2d_s8_quotient(1 << shift, count) + 1;
}

TINYOPT_NEVER_INLINE static int32_t divide(int32_t sum, int32_t count) {
  return tinyopt_average_pool2d_s8_divide(sum, count);
}

static TINYOPT_ALWAYS_INLINE void pool(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output,
                                       bool rescale) {
  const int32_t pitch = op->input_width * op->channels;
  window_t window = {.step = op->channels};
  divisor_t divisor = {0, 0, 0, 0};
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_window_inside(top, op->kernel_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_window_inside(left, op->kernel_width, op->input_width);
        const int8_t *from = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        window.height = rows.end - rows.first;
        window.width = columns.end - columns.first;
        window.jump = pitch - window.width * op->channels;
        const int32_t count = window.height * window.width;
        const bool is_line = window.jump == 0 || window.height == 1;
        if (!rescale && count != divisor.count && count <= TINYOPT_MOST_NARROW) {
          prepare(&divisor, count);
        }
        for (int32_t c = op->channels; c > 0; --c) {
          int32_t sum = is_line ? sum_of_line(from++, count, window.step) : sum_of(from++, &window);
          if (rescale) {
            *output++ = tinyopt_average_pool2d_s8_rescaled(op, sum - count * op->input_zero_point, count);
          } else {
            int32_t mean = count <= TINYOPT_MOST_NARROW ? (sum * divisor.reciprocal + divisor.half) >> divisor.shift
                                                        : divide(sum, count);
            *output++ = (int8_t)tinyopt_clamp(mean, op->clamp_low, op->clamp_high);
          }
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
