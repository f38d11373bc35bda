/* Mean, sum, maximum or minimum over any axes of a float32 tensor.
 *
 * input float32, output float32 of the input's shape without the reduced axes (or with 1 in their place). Sums run in
 * the order of the input, in float32; a mean is the sum divided by the number of elements. Input and output must not
 * overlap.
 */
#ifndef TINYOPT_REDUCE_F32_H
#define TINYOPT_REDUCE_F32_H

#include "common.h"
#include "reduction.h"

typedef struct {
  tinyopt_reduction shape;
  float divisor; /* of a sum: 1, or the number of elements for a mean */
} tinyopt_reduce_f32;

/* Portable C: sum and mean. */
void tinyopt_reduce_sum_f32_ref(const tinyopt_reduce_f32 *op, const float *input, float *output);

/* Portable C: the largest. */
void tinyopt_reduce_max_f32_ref(const tinyopt_reduce_f32 *op, const float *input, float *output);

/* Portable C: the smallest. */
void tinyopt_reduce_min_f32_ref(const tinyopt_reduce_f32 *op, const float *input, float *output);

#endif
