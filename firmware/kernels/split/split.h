/* Cuts a tensor along one axis.
 *
 * The axes before the cut one are merged to `outer`; the cut axis and those after it are runs of bytes, one per output
 * and outer index. Any element type. Input: [outer][sum of runs]. Pointers need no alignment. No scratch, not in place.
 * Exact.
 */
#ifndef TINYOPT_SPLIT_H
#define TINYOPT_SPLIT_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t outer;
  int32_t count;      /* outputs */
  const int32_t *run; /* [count] bytes per outer index */
  int32_t total;      /* bytes of an input row: the sum of the runs */
} tinyopt_split;

/* in: one tensor. out: the parts, in order. */
void tinyopt_split_ref(const tinyopt_split *op, const void *const *in, void *const *out);

#ifdef __cplusplus
}
#endif

#endif
