#include "concat.h"

void tinyopt_concat_ref(const tinyopt_concat *op, const void *const *in, void *const *out) {
  const uint8_t *constant = op->constants;
  uint8_t *column = out[0];
  for (int32_t k = 0; k < op->count; k++) {
    const bool stored = op->run[k] < 0;
    const int32_t run = stored ? -op->run[k] : op->run[k];
    const uint8_t *source = stored ? constant : *in++;
    uint8_t *target = column;
    for (int32_t o = 0; o < op->outer; o++) {
      memcpy(target, source, (size_t)run);
      source += run;
      target += op->total;
    }
    if (stored) {
      constant = source;
    }
    column += run;
  }
}
