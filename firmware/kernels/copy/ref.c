#include "copy.h"

void tinyopt_copy_ref(const tinyopt_copy *op, const void *in, void *out) {
  memmove(out, in, (size_t)op->bytes);
}
