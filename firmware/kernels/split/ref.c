#include "split.h"

void tinyopt_split_ref(const tinyopt_split *op, const void *const *in, void *const *out) {
  const uint8_t *column = in[0];
  for (int32_t k = 0; k < op->count; k++) {
    const int32_t run = op->run[k];
    const uint8_t *source = column;
    uint8_t *target = out[k];
    for (int32_t o = 0; o < op->outer; o++) {
      memcpy(target, source, (size_t)run);
      source += op->total;
      target += run;
    }
    column += run;
  }
}
