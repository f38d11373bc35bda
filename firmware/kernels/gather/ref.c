#include "gather.h"

static int32_t index_at(const tinyopt_gather *op, const void *indices, int32_t at) {
  const int64_t index = op->wide ? ((const int64_t *)indices)[at] : ((const int32_t *)indices)[at];
  const int64_t last = op->extent - 1;
  return (int32_t)(index < 0 ? 0 : (index > last ? last : index));
}

void tinyopt_gather_ref(const tinyopt_gather *op, const void *in, const void *indices, void *out) {
  const size_t unit = (size_t)op->unit;
  const uint8_t *source = in;
  uint8_t *target = out;
  for (int32_t o = 0; o < op->outer; o++) {
    for (int32_t i = 0; i < op->count; i++, target += unit) {
      memcpy(target, source + (size_t)index_at(op, indices, i) * unit, unit);
    }
    source += (size_t)op->extent * unit;
  }
}

void tinyopt_gather_table_ref(const tinyopt_gather *op, const void *indices, void *out) {
  tinyopt_gather_ref(op, op->table, indices, out);
}
