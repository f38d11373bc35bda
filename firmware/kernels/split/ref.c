#include "split.h"

#include "columns.h"

void tinyopt_split_ref(const tinyopt_split *op, const void *const *in, void *const *out) {
  const uint8_t *column = in[0];
  for (int32_t k = 0; k < op->count; k++) {
    const int32_t run = op->run[k];
    tinyopt_copy_column(out[k], run, column, op->total, op->outer, run);
    column += run;
  }
}
