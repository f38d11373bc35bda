/* Joins tensors along one axis.
 *
 * The axes before the joined one are merged to `outer`; the joined axis and those after it are a run of bytes, one run
 * per input and outer index. Any element type. Output: [outer][sum of runs]. Inputs that are constants lie one after
 * the other in `constants`. Pointers need no alignment. No scratch, not in place. Exact.
 */
#ifndef TINYOPT_CONCAT_H
#define TINYOPT_CONCAT_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t outer;
  int32_t count;            /* inputs, constants included */
  const int32_t *run;       /* [count] bytes per outer index; negative: that many bytes of a constant */
  int32_t total;            /* bytes of an output row: the sum of the runs */
  const uint8_t *constants; /* [outer][run] of each constant, in order; NULL where there is none */
} tinyopt_concat;

/* in: the inputs that are not constants, in order. out: one tensor. */
void tinyopt_concat_ref(const tinyopt_concat *op, const void *const *in, void *const *out);

#ifdef __cplusplus
}
#endif

#endif
