/* Copies of many short runs that are equally far apart: what movement of data between channels comes to. */
#ifndef TINYOPT_COLUMNS_H
#define TINYOPT_COLUMNS_H

#include "common.h"

/* Copy `count` runs of `run` bytes, `step` bytes apart in the output and `stride` in the input. Any distance, also
 * negative or 0; the output and the input do not overlap, and need no alignment. */
void tinyopt_copy_column(uint8_t *out, ptrdiff_t step, const uint8_t *in, ptrdiff_t stride, int32_t count, int32_t run);

#endif
