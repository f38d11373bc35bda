/* Maximum over windows with the Arm DSP extension: SSUB8 compares four channels, SEL takes the larger ones. The last
 * channels are computed again with those before them where they are fewer than four. */
#include "dsp.h"
#include "max_pool2d_s8.h"

enum { GROUP = 4 };

/* The window inside the image, `height` x `width` pixels from `from`; `pitch`: bytes from a row to the next. */
static void pool(const tinyopt_max_pool2d_s8 *op, const int8_t *from, int32_t height, int32_t width, int32_t pitch,
                 int8_t *output) {
  const int32_t channels = op->channels;
  const uint32_t lowest = 0x01010101u * (uint32_t)(uint8_t)op->clamp_low;
  const uint32_t highest = 0x01010101u * (uint32_t)(uint8_t)op->clamp_high;
  for (int32_t done = 0; done < channels; done += GROUP) {
    int32_t c = tinyopt_min(done, channels - GROUP);
    const int8_t *row = from + c;
    uint32_t best = lowest;
    for (int32_t i = height; i > 0; --i, row += pitch) {
      const int8_t *pixel = row;
      for (int32_t j = width; j > 0; --j, pixel += channels) {
        best = tinyopt_max_s8x4(best, tinyopt_load_s8x4(pixel));
      }
    }
    best = tinyopt_min_s8x4(best, highest);
    memcpy(output + c, &best, sizeof best);
  }
}

void tinyopt_max_pool2d_s8_dsp(const tinyopt_max_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  int32_t pitch = op->input_width * op->channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_taps_inside(top, op->kernel_height, 1, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_taps_inside(left, op->kernel_width, 1, op->input_width);
        const int8_t *from = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        pool(op, from, rows.end - rows.first, columns.end - columns.first, pitch, output);
        output += op->channels;
      }
    }
    input += op->input_height * pitch;
  }
}
