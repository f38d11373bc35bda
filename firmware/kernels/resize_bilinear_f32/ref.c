#include "resize_bilinear_f32.h"

void tinyopt_resize_bilinear_f32_ref(const tinyopt_resize_bilinear_f32 *op, const float *in, float *out) {
  const int32_t channels = op->channels;
  const int32_t in_row = op->in_width * channels;
  for (int32_t b = 0; b < op->batches; b++, in += op->in_height * in_row) {
    for (int32_t y = 0; y < op->out_height; y++) {
      const float *top = in + op->row[2 * y] * in_row;
      const float *bottom = in + op->row[2 * y + 1] * in_row;
      const float down = op->row_weight[y];
      for (int32_t x = 0; x < op->out_width; x++) {
        const int32_t left = op->column[2 * x] * channels;
        const int32_t right = op->column[2 * x + 1] * channels;
        const float across = op->column_weight[x];
        for (int32_t c = 0; c < channels; c++) {
          const float first = top[left + c] + (bottom[left + c] - top[left + c]) * down;
          const float second = top[right + c] + (bottom[right + c] - top[right + c]) * down;
          *out++ = first + (second - first) * across;
        }
      }
    }
  }
}
