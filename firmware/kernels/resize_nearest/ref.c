#include "resize_nearest.h"

void tinyopt_resize_nearest_ref(const tinyopt_resize_nearest *op, const void *in, void *out) {
  const size_t unit = (size_t)op->unit;
  const size_t in_row = (size_t)op->in_width * unit;
  const size_t out_row = (size_t)op->out_width * unit;
  const uint8_t *image = in;
  uint8_t *target = out;
  for (int32_t b = 0; b < op->batches; b++) {
    for (int32_t y = 0; y < op->out_height; y++) {
      if (y > 0 && op->row[y] == op->row[y - 1]) {
        memcpy(target, target - out_row, out_row);
        target += out_row;
        continue;
      }
      const uint8_t *source = image + op->row[y] * in_row;
      for (int32_t x = 0; x < op->out_width; x++, target += unit) {
        memcpy(target, source + op->column[x] * unit, unit);
      }
    }
    image += (size_t)op->in_height * in_row;
  }
}
