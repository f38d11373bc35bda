/* Maximum of packed signs over windows, in portable C. */
#include "or_pool2d.h"

void tinyopt_or_pool2d_ref(const tinyopt_or_pool2d *op, const int32_t *input, int32_t *output) {
  const int32_t row_words = op->input_width * op->channels;
  for (int32_t batch = 0; batch < op->batches; ++batch) {
    for (int32_t y = 0; y < op->output_height; ++y) {
      int32_t input_y = y * op->stride_height - op->pad_top;
      tinyopt_taps rows = tinyopt_window_inside(input_y, op->kernel_height, op->input_height);
      for (int32_t x = 0; x < op->output_width; ++x) {
        int32_t input_x = x * op->stride_width - op->pad_left;
        tinyopt_taps columns = tinyopt_window_inside(input_x, op->kernel_width, op->input_width);
        for (int32_t channel = 0; channel < op->channels; ++channel) {
          uint32_t word = 0;
          for (int32_t ky = rows.first; ky < rows.end; ++ky) {
            const int32_t *from =
                input + (input_y + ky) * row_words + (input_x + columns.first) * op->channels + channel;
            for (int32_t kx = columns.first; kx < columns.end; ++kx, from += op->channels) {
              word |= (uint32_t)*from;
            }
          }
          *output++ = (int32_t)word;
        }
      }
    }
    input += op->input_height * row_words;
  }
}
