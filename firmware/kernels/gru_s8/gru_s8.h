/* A gated recurrent unit with int8 activations and weights.
 *
 * in: int8 [batches][steps][inputs]; h0: int16 Q0.15 [batches][hidden]; y: int8 [batches][steps][hidden]; h: the state
 * after the last step, as h0. Rows of the weights are stacked by gate: reset, update, new.
 *
 * Contract: gates as in gates_s16.h, of the input and of the state s as y shows it (int8). With q(v) = (v + 2^14) >>
 * 15:
 *
 *   r, z = logistic(sat16(W x + R s))
 *   n = tanh(sat16(W x + q(r * (R s))))   where linear_before_reset
 *   n = tanh(sat16(W x + R q(r * h)))     else, q(r * h) shown as int8
 *   h = q((2^15 - z) * n + z * h)
 *   y = sat8(h * 2^-15 / y scale + zero point)
 *
 * docs/contract/recurrent.md has it in full.
 *
 * scratch: 3 * hidden int16 and 2 * hidden bytes, aligned to 2 bytes, as are h0 and h. h may be h0.
 */
#ifndef TINYOPT_GRU_S8_H
#define TINYOPT_GRU_S8_H

#include "gates_s16.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t batches;
  int32_t steps;
  int32_t hidden;
  bool reverse; /* from the last step to the first */
  bool linear_before_reset;
  tinyopt_gate_product input;     /* of in, 3 * hidden rows */
  tinyopt_gate_product recurrent; /* of the state, 3 * hidden rows */
  const uint16_t *logistic;       /* [256]: logistic(i / 24), 16 fractional bits */
  int32_t output_multiplier;      /* 2^-15 / y scale */
  int8_t output_shift;
  int8_t output_zero; /* zero point of y */
  const int16_t *h0;  /* tinyopt_gru_s8_fixed_ref: [batches][hidden]; else NULL */
} tinyopt_gru_s8;

/* First state from an earlier layer, or kept from one inference to the next. */
void tinyopt_gru_s8_ref(const tinyopt_gru_s8 *op, const int8_t *in, const int16_t *h0, int8_t *y, int16_t *h,
                        void *scratch);

/* Constant first state. */
void tinyopt_gru_s8_fixed_ref(const tinyopt_gru_s8 *op, const int8_t *in, int8_t *y, int16_t *h, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
