/* Sparse rows for Helium (MVE): sixteen inputs of four outputs at a time, wherever the inputs lie.
 *
 * A row of the stream is that of four outputs, the missing ones at the end zero; aligned to four:
 *   four biases, four multipliers, four shifts (all at most -1), each int32;
 *   int32 number of groups; and per group
 *     int32 how many inputs further on its first one is than that of the group before (the first: than input 0);
 *     16 offsets of its inputs from there, uint8;
 *     16 weights of each of the four outputs.
 * Inputs of which all four weights are zero are left out; a group ends after sixteen inputs or 256 places. What is
 * missing of sixteen has the offset and the weights zero.
 *
 * Why: a gather loads sixteen activations from anywhere, which is dear, but four outputs use them. */
#ifndef TINYOPT_SPARSE_MVE_H
#define TINYOPT_SPARSE_MVE_H

#include "mve.h"

/* What the outputs of a layer share. */
typedef struct {
  int32_t zero_point;
  int32_t low;
  int32_t high;
} tinyopt_sparse_limits;

/* All `outputs` outputs, at least one, of the inputs at x. */
void tinyopt_sparse_mve_outputs(const tinyopt_sparse_limits *limits, const int8_t *x, const int8_t *stream,
                                int32_t outputs, int8_t *output);

#endif
