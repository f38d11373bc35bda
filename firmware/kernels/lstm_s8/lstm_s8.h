/* A long short-term memory layer with int8 activations and weights.
 *
 * in: int8 [batches][steps][inputs]; h0: int8 [batches][hidden]; c0: int16 [batches][hidden]; y: int8
 * [batches][steps][hidden]; h, c: the states after the last step, as h0 and c0. The hidden state has the quantization
 * of y, the cell state scale 2^cell_exponent. Rows of the weights are stacked by gate: input, forget, cell, output.
 *
 * Contract (TensorFlow Lite Micro's integer LSTM): gates as in gates_s16.h; with i, f, g, o their Q0.15 values
 *
 *   c = clamp(sat16(sat16(f * c * 2^-15) + sat16(i * g * 2^-30 / cell scale)), cell_clip)
 *   h = sat8(o * tanh(c) * 2^-30 / y scale + zero point)
 *
 * with each product requantized by a Q31 multiplier. docs/contract/recurrent.md has it in full.
 *
 * scratch: 4 * hidden int16, aligned to 2 bytes, as are c0 and c. h may be h0 and c may be c0.
 */
#ifndef TINYOPT_LSTM_S8_H
#define TINYOPT_LSTM_S8_H

#include "gates_s16.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t batches;
  int32_t steps;
  int32_t hidden;
  bool reverse;                   /* from the last step to the first */
  tinyopt_gate_product input;     /* of in, 4 * hidden rows */
  tinyopt_gate_product recurrent; /* of the hidden state, 4 * hidden rows */
  const uint16_t *logistic;       /* [256]: logistic(i / 24), 16 fractional bits */
  int32_t cell_multiplier;        /* of i * g */
  int32_t output_multiplier;      /* of o * tanh(c) */
  int8_t cell_shift, output_shift;
  int8_t tanh_shift;  /* 12 + cell_exponent */
  int8_t output_zero; /* zero point of y */
  int32_t cell_clip;  /* 32768: no limit */
  const int8_t *h0;   /* tinyopt_lstm_s8_fixed_ref: [batches][hidden]; else NULL */
  const int16_t *c0;
} tinyopt_lstm_s8;

/* First states from earlier layers, or kept from one inference to the next. */
void tinyopt_lstm_s8_ref(const tinyopt_lstm_s8 *op, const int8_t *in, const int8_t *h0, const int16_t *c0, int8_t *y,
                         int8_t *h, int16_t *c, void *scratch);

/* Constant first states. */
void tinyopt_lstm_s8_fixed_ref(const tinyopt_lstm_s8 *op, const int8_t *in, int8_t *y, int8_t *h, int16_t *c,
                               void *scratch);

#ifdef __cplusplus
}
#endif

#endif
