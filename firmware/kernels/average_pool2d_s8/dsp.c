/* Mean over windows with the Arm DSP extension: SXTAB16 adds four channels to two pairs of sums. A sum of at most 255
 * int8 values fits its half. The last channels are computed again with those before them where they are fewer than
 * four.
 */
#include "average_pool2d_s8.h"
#include "dsp.h"

enum { GROUP = 4 };

/* The pixels of a window inside the image, `height` x `width` from `from`; `pitch`, `step`: bytes from a row, a pixel
 * to the next. even, odd: sums of channels 0 and 2, 1 and 3. */
typedef struct {
  int32_t height, width;
  int32_t pitch, step;
  uint32_t even, odd;
} window_t;

TINYOPT_NEVER_INLINE static void add_up(window_t *window, const int8_t *from) {
  int32_t step = window->step;
  uint32_t even = 0;
  uint32_t odd = 0;
  for (int32_t rows = window->height; rows > 0; --rows, from += window->pitch) {
    const int8_t *pixel = from;
    int32_t left = window->width;
    for (; left >= 2; left -= 2, pixel += 2 * step) {
      uint32_t first = tinyopt_load_s8x4(pixel);
      uint32_t second = tinyopt_load_s8x4(pixel + step);
      even = tinyopt_sxtab16(even, first);
      odd = tinyopt_sxtab16_ror8(odd, first);
      even = tinyopt_sxtab16(even, second);
      odd = tinyopt_sxtab16_ror8(odd, second);
    }
    if (left > 0) {
      uint32_t word = tinyopt_load_s8x4(pixel);
      even = tinyopt_sxtab16(even, word);
      odd = tinyopt_sxtab16_ror8(odd, word);
    }
  }
  window->even = even;
  window->odd = odd;
}

/* Functions of their own: four in a row would be as long as the rest. */
TINYOPT_NEVER_INLINE static int8_t mean(const tinyopt_average_pool2d_s8 *op, int32_t sum, int32_t count) {
  return tinyopt_average_pool2d_s8_mean(op, sum, count, false);
}

TINYOPT_NEVER_INLINE static int8_t rescaled_mean(const tinyopt_average_pool2d_s8 *op, int32_t sum, int32_t count) {
  return tinyopt_average_pool2d_s8_mean(op, sum, count, true);
}

static TINYOPT_ALWAYS_INLINE void pool(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output,
                                       bool rescale) {
  window_t window = {.pitch = op->input_width * op->channels, .step = op->channels};
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_taps_inside(top, op->kernel_height, 1, op->input_height);
      window.height = rows.end - rows.first;
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_taps_inside(left, op->kernel_width, 1, op->input_width);
        window.width = columns.end - columns.first;
        const int8_t *from = input + (top + rows.first) * window.pitch + (left + columns.first) * op->channels;
        for (int32_t done = 0; done < op->channels; done += GROUP) {
          int32_t c = tinyopt_min(done, op->channels - GROUP);
          add_up(&window, from + c);
          const int32_t sums[GROUP] = {tinyopt_low_half(window.even), tinyopt_low_half(window.odd),
                                       tinyopt_high_half(window.even), tinyopt_high_half(window.odd)};
          for (int32_t i = 0; i < GROUP; ++i) {
            int32_t count = window.height * window.width;
            output[c + i] = rescale ? rescaled_mean(op, sums[i], count) : mean(op, sums[i], count);
          }
        }
        output += op->channels;
      }
    }
    input += op->input_height * window.pitch;
  }
}

void tinyopt_average_pool2d_s8_dsp(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  pool(op, input, output, false);
}

void tinyopt_average_pool2d_s8_rescale_dsp(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  pool(op, input, output, true);
}
