#include "pad.h"

static uint8_t *fill(const tinyopt_pad *op, uint8_t *out, int32_t bytes) {
  if (op->element == 1) {
    memset(out, op->value[0], (size_t)bytes);
  } else {
    for (int32_t i = 0; i < bytes; i += op->element) {
      memcpy(out + i, op->value, (size_t)op->element);
    }
  }
  return out + bytes;
}

void tinyopt_pad_constant_ref(const tinyopt_pad *op, const void *in, void *out) {
  const int32_t inner = op->rank - 1;
  const int32_t before = op->before[inner] * op->unit;
  const int32_t row = op->size[inner] * op->unit;
  const int32_t after = op->after[inner] * op->unit;
  const uint8_t *source = in;
  uint8_t *target = out;
  int32_t index[TINYOPT_PAD_AXES] = {0}; /* position in the output */
  int32_t axis = inner;
  while (axis >= 0) {
    bool inside = true;
    for (int32_t i = 0; i < inner; i++) {
      inside = inside && index[i] >= op->before[i] && index[i] < op->before[i] + op->size[i];
    }
    if (inside) {
      /* Rows inside the image come in the order of the input. */
      target = fill(op, target, before);
      memcpy(target, source, (size_t)row);
      source += row;
      target = fill(op, target + row, after);
    } else {
      target = fill(op, target, before + row + after);
    }
    for (axis = inner - 1; axis >= 0; axis--) {
      if (++index[axis] < op->before[axis] + op->size[axis] + op->after[axis]) {
        break;
      }
      index[axis] = 0;
    }
  }
}
