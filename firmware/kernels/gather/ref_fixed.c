#include "gather.h"

void tinyopt_gather_fixed_ref(const tinyopt_gather *op, const void *in, void *out) {
  const size_t unit = (size_t)op->unit;
  const uint8_t *source = in;
  uint8_t *target = out;
  for (int32_t o = 0; o < op->outer; o++) {
    for (int32_t i = 0; i < op->count; i++, target += unit) {
      memcpy(target, source + (size_t)op->indices[i] * unit, unit);
    }
    source += (size_t)op->extent * unit;
  }
}
