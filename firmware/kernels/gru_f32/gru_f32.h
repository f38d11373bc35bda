/* A gated recurrent unit in float32 (Cho et al. 2014).
 *
 * in: [batches][steps][inputs]; h0: [batches][hidden]; y: [batches][steps][hidden]; h: [batches][hidden], the state
 * after the last step. Rows of the weights are stacked by gate: reset, update, new. With x the input of a step and h
 * the state before it:
 *
 *   r, z = logistic(W x + R h + b)
 *   n = tanh(W x + b + r * (R h + new_bias))   where new_bias is given (linear before reset)
 *   n = tanh(W x + b + R (r * h))              else
 *   h = (1 - z) * n + z * h
 *
 * scratch: 4 * hidden floats. Pointers are aligned to 4 bytes. h may be h0. Equal to the float executor up to rounding.
 */
#ifndef TINYOPT_GRU_F32_H
#define TINYOPT_GRU_F32_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t batches;
  int32_t steps;
  int32_t inputs;
  int32_t hidden;
  bool reverse;           /* from the last step to the first */
  const float *weights;   /* [3 * hidden][inputs] */
  const float *recurrent; /* [3 * hidden][hidden] */
  const float *bias;      /* [3 * hidden]: both biases where they simply add up */
  const float *new_bias;  /* [hidden]: the recurrent bias of `new` that the reset gate scales, or NULL */
  const float *h0;        /* tinyopt_gru_f32_fixed_ref: [batches][hidden]; else NULL */
} tinyopt_gru_f32;

/* First state from an earlier layer, or kept from one inference to the next. */
void tinyopt_gru_f32_ref(const tinyopt_gru_f32 *op, const float *in, const float *h0, float *y, float *h,
                         void *scratch);

/* Constant first state. */
void tinyopt_gru_f32_fixed_ref(const tinyopt_gru_f32 *op, const float *in, float *y, float *h, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
