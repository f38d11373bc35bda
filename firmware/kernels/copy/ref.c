#include "copy.h"

void tinyopt_copy_ref(const tinyopt_copy *op, const void *in, void *out) {
  /* The planner may give both the same address, which memcpy does not allow. */
  if (out != in) {
    memcpy(out, in, (size_t)op->bytes);
  }
}
