#include "pad.h"

/* The input position that output position `at` of an axis shows. */
static int32_t source_index(const tinyopt_pad *op, int32_t axis, int32_t at) {
  const int32_t last = op->size[axis] - 1;
  const int32_t position = at - op->before[axis];
  if (op->edge) {
    return tinyopt_clamp(position, 0, last);
  }
  if (position < 0) {
    return -position;
  }
  return position > last ? 2 * last - position : position;
}

void tinyopt_pad_mirror_ref(const tinyopt_pad *op, const void *in, void *out) {
  const int32_t inner = op->rank - 1;
  const int32_t before = op->before[inner];
  const int32_t size = op->size[inner];
  const size_t unit = (size_t)op->unit;
  const size_t row = (size_t)size * unit;
  uint8_t *target = out;
  int32_t index[TINYOPT_PAD_AXES] = {0}; /* position in the output */
  int32_t axis = inner;
  while (axis >= 0) {
    size_t line = 0;
    for (int32_t i = 0; i < inner; i++) {
      line = line * (size_t)op->size[i] + (size_t)source_index(op, i, index[i]);
    }
    const uint8_t *source = (const uint8_t *)in + line * row;
    for (int32_t i = 0; i < before; i++, target += unit) {
      memcpy(target, source + (size_t)source_index(op, inner, i) * unit, unit);
    }
    memcpy(target, source, row);
    target += row;
    for (int32_t i = before + size; i < before + size + op->after[inner]; i++, target += unit) {
      memcpy(target, source + (size_t)source_index(op, inner, i) * unit, unit);
    }
    for (axis = inner - 1; axis >= 0; axis--) {
      if (++index[axis] < op->before[axis] + op->size[axis] + op->after[axis]) {
        break;
      }
      index[axis] = 0;
    }
  }
}
