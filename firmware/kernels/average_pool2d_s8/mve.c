/* Mean over windows with Helium: sums of four channels at a time, which are then divided one by one. */
#include "average_pool2d_s8.h"
#include "mve.h"

/* Sums of up to four channels of a window of `height` x `width` pixels; `pitch`: bytes from a row to the next. */
static void add_up(const int8_t *from, int32_t height, int32_t width, int32_t pitch, int32_t step, int32_t channels,
                   int32_t sums[4]) {
#if TINYOPT_HAS_MVE
  mve_pred16_t lanes = vctp32q((uint32_t)channels);
  int32x4_t sum = vdupq_n_s32(0);
  for (; height > 0; --height, from += pitch) {
    const int8_t *pixel = from;
    for (int32_t j = width; j > 0; --j, pixel += step) {
      sum = vaddq_s32(sum, vldrbq_z_s32(pixel, lanes));
    }
  }
  vst1q_s32(sums, sum);
#else
  memset(sums, 0, 4 * sizeof *sums);
  for (int32_t i = 0; i < height; ++i) {
    for (int32_t j = 0; j < width; ++j) {
      for (int32_t c = 0; c < tinyopt_min(4, channels); ++c) {
        sums[c] += from[i * pitch + j * step + c];
      }
    }
  }
#endif
}

void tinyopt_average_pool2d_s8_mve(const tinyopt_average_pool2d_s8 *op, const int8_t *input, int8_t *output) {
  int32_t pitch = op->input_width * op->channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t top = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_taps_inside(top, op->kernel_height, 1, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t left = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_taps_inside(left, op->kernel_width, 1, op->input_width);
        int32_t height = rows.end - rows.first;
        int32_t width = columns.end - columns.first;
        const int8_t *from = input + (top + rows.first) * pitch + (left + columns.first) * op->channels;
        for (int32_t c = 0; c < op->channels; c += 4, from += 4) {
          int32_t sums[4];
          add_up(from, height, width, pitch, op->channels, op->channels - c, sums);
          for (int32_t lane = 0; lane < tinyopt_min(4, op->channels - c); ++lane) {
            *output++ = tinyopt_average_pool2d_s8_mean(op, sums[lane], height * width, op->rescale);
          }
        }
      }
    }
    input += op->input_height * pitch;
  }
}
