#include "strided_copy.h"

/* One row of the innermost axis. Copies of a known size become single loads and stores. */
static uint8_t *copy_row(uint8_t *out, const uint8_t *in, int32_t count, int32_t stride, int32_t run) {
  ptrdiff_t at = 0;
  switch (run) {
  case 1:
    for (int32_t i = 0; i < count; i++, at += stride) {
      *out++ = in[at];
    }
    break;
  case 2:
    for (int32_t i = 0; i < count; i++, at += stride, out += 2) {
      memcpy(out, in + at, 2);
    }
    break;
  case 4:
    for (int32_t i = 0; i < count; i++, at += stride, out += 4) {
      memcpy(out, in + at, 4);
    }
    break;
  default:
    for (int32_t i = 0; i < count; i++, at += stride, out += run) {
      memcpy(out, in + at, (size_t)run);
    }
    break;
  }
  return out;
}

void tinyopt_strided_copy_ref(const tinyopt_strided_copy *op, const void *in, void *out) {
  const int32_t inner = op->rank - 1;
  const uint8_t *source = in;
  uint8_t *target = out;
  int32_t index[TINYOPT_STRIDED_COPY_AXES] = {0};
  ptrdiff_t at = op->offset;
  int32_t axis = inner;
  while (axis >= 0) {
    target = copy_row(target, source + at, op->size[inner], op->stride[inner], op->run);
    /* Step to the next row: count the outer axes up like an odometer. */
    for (axis = inner - 1; axis >= 0; axis--) {
      at += op->stride[axis];
      if (++index[axis] < op->size[axis]) {
        break;
      }
      at -= (ptrdiff_t)op->stride[axis] * op->size[axis];
      index[axis] = 0;
    }
  }
}
