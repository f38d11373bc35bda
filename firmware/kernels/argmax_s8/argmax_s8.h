/* Index of the largest element along one axis of an int8 tensor.
 *
 * input int8 [outer][count][inner]; output int32 or int64 [outer][inner]: the first of several largest elements.
 * Pointers to int8 need no alignment. Input and output must not overlap.
 */
#ifndef TINYOPT_ARGMAX_S8_H
#define TINYOPT_ARGMAX_S8_H

#include "common.h"

typedef struct {
  int32_t outer;
  int32_t count;
  int32_t inner;
} tinyopt_argmax_s8;

/* Portable C; int32 indices. */
void tinyopt_argmax_s8_ref(const tinyopt_argmax_s8 *op, const int8_t *input, int32_t *output);

/* Portable C; int64 indices. */
void tinyopt_argmax_s8_wide_ref(const tinyopt_argmax_s8 *op, const int8_t *input, int64_t *output);

#endif
