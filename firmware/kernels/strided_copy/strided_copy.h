/* Writes a contiguous output from an input that is read with strides: slice, transpose, broadcast.
 *
 * The output is [size[0]] … [size[rank-1]][run bytes]; the input byte of an output position is
 * offset + sum(index[i] * stride[i]). A stride is 0 on a broadcast axis and negative where a slice runs backwards. The
 * planner merges axes, so that `run` is as long and `rank` as small as the operator permits. Any element type; pointers
 * need no alignment. No scratch, not in place. Exact.
 */
#ifndef TINYOPT_STRIDED_COPY_H
#define TINYOPT_STRIDED_COPY_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TINYOPT_STRIDED_COPY_AXES 6

typedef struct {
  int32_t run;    /* bytes that are contiguous in the input */
  int32_t offset; /* first input byte */
  int32_t rank;   /* axes in use, 1 to 6 */
  int32_t size[TINYOPT_STRIDED_COPY_AXES];
  int32_t stride[TINYOPT_STRIDED_COPY_AXES]; /* bytes */
} tinyopt_strided_copy;

void tinyopt_strided_copy_ref(const tinyopt_strided_copy *op, const void *in, void *out);

#ifdef __cplusplus
}
#endif

#endif
