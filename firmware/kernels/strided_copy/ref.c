#include "strided_copy.h"

#include "columns.h"

/* The two innermost axes. The longer one is the inner loop, for what the outer one costs is spent on every turn of it.
 */
static void copy_plane(const tinyopt_strided_copy *op, const uint8_t *in, uint8_t *out) {
  const int32_t inner = op->rank - 1;
  const int32_t outer = inner > 0 ? inner - 1 : 0;
  const int32_t columns = op->size[inner];
  const int32_t rows = inner > 0 ? op->size[outer] : 1;
  const ptrdiff_t row = (ptrdiff_t)op->run * columns;
  if (rows > columns) {
    for (int32_t i = 0; i < columns; i++, in += op->stride[inner], out += op->run) {
      tinyopt_copy_column(out, row, in, op->stride[outer], rows, op->run);
    }
  } else {
    for (int32_t i = 0; i < rows; i++, in += op->stride[outer], out += row) {
      tinyopt_copy_column(out, op->run, in, op->stride[inner], columns, op->run);
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
