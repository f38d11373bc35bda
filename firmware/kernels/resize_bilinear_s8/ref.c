#include "resize_bilinear_s8.h"

enum { ONE = 1 << 10, HALF = 1 << 19 };

void tinyopt_resize_bilinear_s8_ref(const tinyopt_resize_bilinear_s8 *op, const int8_t *in, int8_t *out) {
  const int32_t channels = op->channels;
  const int32_t in_row = op->in_width * channels;
  for (int32_t b = 0; b < op->batches; b++, in += op->in_height * in_row) {
    for (int32_t y = 0; y < op->out_height; y++) {
      const uint16_t *row = op->row + 3 * y;
      const int8_t *top = in + row[0] * in_row;
      const int8_t *bottom = in + row[1] * in_row;
      const int32_t down = row[2];
      for (int32_t x = 0; x < op->out_width; x++) {
        const uint16_t *column = op->column + 3 * x;
        const int32_t left = column[0] * channels;
        const int32_t right = column[1] * channels;
        /* The weights sum to 2^20, so a weighted sum of int8 values needs 28 bits. */
        const int32_t bottom_right = down * column[2];
        const int32_t top_right = column[2] * ONE - bottom_right;
        const int32_t bottom_left = down * ONE - bottom_right;
        const int32_t top_left = ONE * ONE - down * ONE - top_right;
        for (int32_t c = 0; c < channels; c++) {
          const int32_t sum = top[left + c] * top_left + top[right + c] * top_right + bottom[left + c] * bottom_left +
                              bottom[right + c] * bottom_right;
          *out++ = (int8_t)((sum + (sum > 0 ? HALF : -HALF)) / (ONE * ONE));
        }
      }
    }
  }
}
