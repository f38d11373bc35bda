/* A long short-term memory layer in float32 (Hochreiter and Schmidhuber 1997).
 *
 * in: [batches][steps][inputs]; h0, c0: [batches][hidden]; y: [batches][steps][hidden]; h, c: [batches][hidden], the
 * states after the last step. Rows of the weights are stacked by gate: input, forget, cell, output. With x the input of
 * a step and h, c the states before it:
 *
 *   i, f, o = logistic(W x + R h + b),  g = tanh(W x + R h + b)
 *   c = clip(f * c + i * g, cell_clip),  h = o * tanh(c)
 *
 * scratch: 4 * hidden floats. Pointers are aligned to 4 bytes. h may be h0 and c may be c0. Equal to the float executor
 * up to rounding.
 */
#ifndef TINYOPT_LSTM_F32_H
#define TINYOPT_LSTM_F32_H

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
  float cell_clip;        /* 0: no limit */
  const float *weights;   /* [4 * hidden][inputs] */
  const float *recurrent; /* [4 * hidden][hidden] */
  const float *bias;      /* [4 * hidden] */
  const float *h0;        /* tinyopt_lstm_f32_fixed_ref: [batches][hidden]; else NULL */
  const float *c0;
} tinyopt_lstm_f32;

/* First states from earlier layers, or kept from one inference to the next. */
void tinyopt_lstm_f32_ref(const tinyopt_lstm_f32 *op, const float *in, const float *h0, const float *c0, float *y,
                          float *h, float *c, void *scratch);

/* Constant first states. */
void tinyopt_lstm_f32_fixed_ref(const tinyopt_lstm_f32 *op, const float *in, float *y, float *h, float *c,
                                void *scratch);

#ifdef __cplusplus
}
#endif

#endif
