/* Maximum over windows with the Arm DSP extension: SSUB8 compares four channels, SEL takes the larger ones. Two words
 * of channels at a time; the second begins four bytes behind the first, or less where there are fewer than eight
 * channels. The last channels are computed again with those before them where they are fewer than eight. */
#include "dsp.h"
#include "max_pool2d_s8.h"

enum { GROUP = 8 };

/* Rows of pixels; `pitch`: bytes from a row to the next, `step`: from a pixel to the next. */
typedef struct {
  int32_t height, width;
  int32_t pitch, step;
  uint32_t lowest, highest; /* four channels' limits */
} window_t;

/* The larger ones of two words of `count` pixels, at least one. */
static inline void raise(uint32_t *best, uint32_t *second_best, const int8_t *pixel, int32_t count, int32_t step,
                         int32_t second) {
#if TINYOPT_HAS_DSP && defined(__OPTIMIZE__)
  uint32_t word;
  uint32_t second_word;
  uint32_t difference;
  __asm__("1:\n"
          "ldr %[word], [%[pixel]]\n"
          "ldr %[second_word], [%[pixel], %[second]]\n"
          "add %[pixel], %[pixel], %[step]\n"
          "ssub8 %[difference], %[best], %[word]\n"
          "sel %[best], %[best], %[word]\n"
          "ssub8 %[difference], %[second_best], %[second_word]\n"
          "sel %[second_best], %[second_best], %[second_word]\n"
          "subs %[count], %[count], #1\n"
          "bne 1b\n"
          : [pixel] "+r"(pixel), [count] "+r"(count), [best] "+r"(*best), [second_best] "+r"(*second_best),
            [word] "=&r"(word), [second_word] "=&r"(second_word), [difference] "=&r"(difference)
          : [step] "r"(step), [second] "r"(second)
          : "cc", "memory");
#else
  do {
    *best = tinyopt_max_s8x4(*best, tinyopt_load_s8x4(pixel));
    *second_best = tinyopt_max_s8x4(*second_best, tinyopt_load_s8x4(pixel + second));
    pixel += step;
  } while (--count > 0);
#endif
}

static void pool(const window_t *window, const int8_t *from, int8_t *output) {
  const int32_t channels = window->step;
  const int32_t second = tinyopt_min(channels - 4, 4);
  for (int32_t done = 0; done < channels; done += GROUP) {
    int32_t c = tinyopt_max(tinyopt_min(done, channels - GROUP), 0);
    const int8_t *row = from + c;
    uint32_t best = window->lowest;
    uint32_t second_best = best;
    for (int32_t i = window->height; i > 0; --i, row += window->pitch) {
      raise(&best, &second_best, row, window->width, channels, second);
    }
    best = tinyopt_min_s8x4(best, window->highest);
    second_best = tinyopt_min_s8x4(second_best, window->highest);
    memcpy(output + c, &best, sizeof best);
    memcpy(output + c + second, &second_best, sizeof second_best);
  }
}

void tinyopt_max_pool2d_s8_dsp(const tinyopt_max_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  window_t window = {.pitch = op->input_width * op->channels,
                     .step = op->channels,
                     .lowest = 0x01010101u * (uint32_t)(uint8_t)op->clamp_low,
                     .highest = 0x01010101u * (uint32_t)(uint8_t)op->clamp_high};
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_window_inside(top, op->kernel_height, op->input_height);
      const int8_t *row = input + (top + rows.first) * window.pitch;
      window.height = rows.end - rows.first;
      for (int32_t x = 0; x < op->output_width; ++x, output += op->channels) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_window_inside(left, op->kernel_width, op->input_width);
        window.width = columns.end - columns.first;
        pool(&window, row + (left + columns.first) * op->channels, output);
      }
    }
    input += op->input_height * window.pitch;
  }
}
