/* Maximum over windows with Helium, sixteen channels at a time. */
#include "max_pool2d_s8.h"
#include "mve.h"

/* The window inside the image, `height` x `width` pixels from `from`; `pitch`: bytes from a row to the next. */
static void pool(const tinyopt_max_pool2d_s8 *op, const int8_t *from, int32_t height, int32_t width, int32_t pitch,
                 int8_t *output) {
#if TINYOPT_HAS_MVE
  for (int32_t left = op->channels; left > 0; left -= 16, from += 16, output += 16) {
    mve_pred16_t lanes = vctp8q((uint32_t)left);
    int8x16_t best = vdupq_n_s8((int8_t)op->clamp_low);
    const int8_t *row = from;
    for (int32_t i = height; i > 0; --i, row += pitch) {
      const int8_t *pixel = row;
      for (int32_t j = width; j > 0; --j, pixel += op->channels) {
        best = vmaxq_s8(best, vldrbq_z_s8(pixel, lanes));
      }
    }
    vstrbq_p_s8(output, vminq_s8(best, vdupq_n_s8((int8_t)op->clamp_high)), lanes);
  }
#else
  for (int32_t c = 0; c < op->channels; ++c) {
    int32_t best = op->clamp_low;
    for (int32_t i = 0; i < height; ++i) {
      for (int32_t j = 0; j < width; ++j) {
        best = tinyopt_max(best, from[i * pitch + j * op->channels + c]);
      }
    }
    output[c] = (int8_t)tinyopt_min(best, op->clamp_high);
  }
#endif
}

void tinyopt_max_pool2d_s8_mve(const tinyopt_max_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  int32_t pitch = op->input_width * op->channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_window_inside(top, op->kernel_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_window_inside(left, op->kernel_width, op->input_width);
        const int8_t *from = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        pool(op, from, rows.end - rows.first, columns.end - columns.first, pitch, output);
        output += op->channels;
      }
    }
    input += op->input_height * pitch;
  }
}
