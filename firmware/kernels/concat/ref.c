#include "concat.h"

#include "columns.h"

void tinyopt_concat_ref(const tinyopt_concat *op, const void *const *in, void *const *out) {
  const uint8_t *constant = op->constants;
  uint8_t *column = out[0];
  for (int32_t k = 0; k < op->count; k++) {
    const bool stored = op->run[k] < 0;
    const int32_t run = stored ? -op->run[k] : op->run[k];
    const uint8_t *source = stored ? constant : *in++;
    tinyopt_copy_column(column, op->total, source, run, op->outer, run);
    if (stored) {
      constant += (ptrdiff_t)op->outer * run;
    }
    column += run;
  }
}
