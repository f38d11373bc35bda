/* Index of the largest element along one axis of a float32 tensor.
 *
 * input float32 [outer][count][inner]; output int32 or int64 [outer][inner]: the first of several largest elements.
 * The input must not hold NaN. Input and output must not overlap.
 */
#ifndef TINYOPT_ARGMAX_F32_H
#define TINYOPT_ARGMAX_F32_H

#include "common.h"

typedef struct {
  int32_t outer;
  int32_t count;
  int32_t inner;
} tinyopt_argmax_f32;

/* Portable C; int32 indices. */
void tinyopt_argmax_f32_ref(const tinyopt_argmax_f32 *op, const float *input, int32_t *output);

/* Portable C; int64 indices. */
void tinyopt_argmax_f32_wide_ref(const tinyopt_argmax_f32 *op, const float *input, int64_t *output);

#endif
