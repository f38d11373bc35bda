#include "copy.h"

void tinyopt_copy_constant_ref(const tinyopt_copy *op, void *out) {
  memcpy(out, op->source, (size_t)op->bytes);
}
