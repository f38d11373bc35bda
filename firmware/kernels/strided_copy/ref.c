#include "strided_copy.h"

#include "columns.h"

/* Fewer bytes than this do not pay for a call. */
enum { FEW = 16 };

/* The two innermost axes. The longer one is the inner loop, for each turn of the outer one costs extra. */
static void copy_plane(const tinyopt_strided_copy *op, const uint8_t *in, uint8_t *out) {
  const int32_t last = op->rank - 1;
  int32_t count = op->size[last];
  int32_t turns = 1;
  ptrdiff_t stride = op->stride[last];
  ptrdiff_t step = op->run;
  ptrdiff_t turn_stride = 0;
  ptrdiff_t turn_step = 0;
  if (last > 0) {
    turns = op->size[last - 1];
    turn_stride = op->stride[last - 1];
    turn_step = step * count;
  }
  if (turns > count) {
    count = turns;
    turns = op->size[last];
    stride = turn_stride;
    turn_stride = op->stride[last];
    step = turn_step;
    turn_step = op->run;
  }
  for (; turns > 0; turns--, in += turn_stride, out += turn_step) {
    if (op->run == 1 && count < FEW) {
      const uint8_t *source = in;
      uint8_t *target = out;
      for (int32_t i = 0; i < count; i++, source += stride, target += step) {
        *target = *source;
      }
    } else {
      tinyopt_copy_column(out, step, in, stride, count, op->run);
    }
  }
}

void tinyopt_strided_copy_ref(const tinyopt_strided_copy *op, const void *in, void *out) {
  const int32_t plane_axes = tinyopt_min(op->rank, 2);
  const int32_t last = op->rank - plane_axes - 1;
  ptrdiff_t plane = op->run;
  for (int32_t axis = last + 1; axis < op->rank; axis++) {
    plane *= op->size[axis];
  }
  const uint8_t *source = in;
  uint8_t *target = out;
  int32_t index[TINYOPT_STRIDED_COPY_AXES] = {0};
  ptrdiff_t at = op->offset;
  int32_t axis = 0;
  do {
    copy_plane(op, source + at, target);
    target += plane;
    /* Step to the next plane: count the outer axes up like an odometer. */
    for (axis = last; axis >= 0; axis--) {
      at += op->stride[axis];
      if (++index[axis] < op->size[axis]) {
        break;
      }
      at -= (ptrdiff_t)op->stride[axis] * op->size[axis];
      index[axis] = 0;
    }
  } while (axis >= 0);
}
