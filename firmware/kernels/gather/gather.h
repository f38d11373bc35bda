/* Reads slices of a tensor by index (numpy.take); an embedding lookup is a gather from a table.
 *
 * Input: [outer][extent][unit bytes], indices: [count], output: [outer][count][unit bytes]. Any element type; the data
 * pointers need no alignment, indices that are computed at run time that of their type. No scratch, not in place.
 * Exact. An index outside 0 .. extent-1 reads the nearest end of the axis, so that no index reads other memory.
 */
#ifndef TINYOPT_GATHER_H
#define TINYOPT_GATHER_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t outer;
  int32_t extent;
  int32_t unit; /* bytes per index */
  int32_t count;
  bool wide;              /* indices given at run time are int64, else int32 */
  const int32_t *indices; /* tinyopt_gather_fixed_ref: [count], all inside the axis; else NULL */
  const void *table;      /* tinyopt_gather_table_ref: [outer][extent][unit bytes]; else NULL */
} tinyopt_gather;

/* Data and indices from earlier layers. */
void tinyopt_gather_ref(const tinyopt_gather *op, const void *in, const void *indices, void *out);

/* Constant indices. */
void tinyopt_gather_fixed_ref(const tinyopt_gather *op, const void *in, void *out);

/* Constant data: embedding lookup. */
void tinyopt_gather_table_ref(const tinyopt_gather *op, const void *indices, void *out);

#ifdef __cplusplus
}
#endif

#endif
