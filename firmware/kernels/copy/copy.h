/* Copies of whole tensors: reshapes that cannot be views, states, outputs that are inputs or constants.
 *
 * Any element type; `bytes` is the size of the tensor. Pointers need no alignment. No scratch. The
 * output may be the input itself, and may overlap it. Exact.
 */
#ifndef TINYOPT_COPY_H
#define TINYOPT_COPY_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t bytes;
  const void *source; /* tinyopt_copy_constant_ref: the bytes to write; else NULL */
} tinyopt_copy;

/* out[0 .. bytes) = in[0 .. bytes). */
void tinyopt_copy_ref(const tinyopt_copy *op, const void *in, void *out);

/* out[0 .. bytes) = op->source[0 .. bytes). */
void tinyopt_copy_constant_ref(const tinyopt_copy *op, void *out);

#ifdef __cplusplus
}
#endif

#endif
