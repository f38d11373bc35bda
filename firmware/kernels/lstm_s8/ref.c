#include "lstm_s8.h"

static void step(const tinyopt_lstm_s8 *op, const int8_t *x, int8_t *y, int8_t *h, int16_t *c, int16_t *gates) {
  const int32_t hidden = op->hidden;
  /* All gates read the old hidden state, so it changes only after the last of them. */
  for (int32_t gate = 0, row = 0; gate < 4; gate++) {
    for (int32_t j = 0; j < hidden; j++, row++) {
      const int32_t sum = tinyopt_gate_sum(&op->input, gate, row, x) + tinyopt_gate_sum(&op->recurrent, gate, row, h);
      gates[row] = (int16_t)tinyopt_saturate_s16(sum);
    }
  }
  for (int32_t j = 0; j < hidden; j++) {
    const int32_t in_gate = tinyopt_logistic_s16(op->logistic, gates[j]);
    const int32_t forget_gate = tinyopt_logistic_s16(op->logistic, gates[hidden + j]);
    const int32_t candidate = tinyopt_tanh_s16(op->logistic, gates[2 * hidden + j], 0);
    const int32_t out_gate = tinyopt_logistic_s16(op->logistic, gates[3 * hidden + j]);
    /* 2^30 and -14 are the multiplier 2^-15, rounded twice as every multiplier is. */
    const int32_t kept = tinyopt_saturate_s16(tinyopt_requantize(forget_gate * c[j], 1 << 30, -14));
    const int32_t added =
        tinyopt_saturate_s16(tinyopt_requantize(in_gate * candidate, op->cell_multiplier, op->cell_shift));
    const int32_t cell = tinyopt_clamp(tinyopt_saturate_s16(kept + added), -op->cell_clip, op->cell_clip);
    const int32_t shown = tinyopt_tanh_s16(op->logistic, cell, op->tanh_shift) * out_gate;
    c[j] = (int16_t)cell;
    h[j] = (int8_t)tinyopt_clamp(tinyopt_requantize(shown, op->output_multiplier, op->output_shift) + op->output_zero,
                                 INT8_MIN, INT8_MAX);
    y[j] = h[j];
  }
}

void tinyopt_lstm_s8_ref(const tinyopt_lstm_s8 *op, const int8_t *in, const int8_t *h0, const int16_t *c0, int8_t *y,
                         int8_t *h, int16_t *c, void *scratch) {
  const int32_t hidden = op->hidden;
  const size_t state = (size_t)op->batches * (size_t)hidden;
  if (h != h0) {
    memcpy(h, h0, state);
  }
  if (c != c0) {
    memcpy(c, c0, state * sizeof(int16_t));
  }
  for (int32_t b = 0; b < op->batches; b++) {
    for (int32_t k = 0; k < op->steps; k++) {
      const int32_t t = b * op->steps + (op->reverse ? op->steps - 1 - k : k);
      step(op, in + t * op->input.columns, y + t * hidden, h + b * hidden, c + b * hidden, scratch);
    }
  }
}

void tinyopt_lstm_s8_fixed_ref(const tinyopt_lstm_s8 *op, const int8_t *in, int8_t *y, int8_t *h, int16_t *c,
                               void *scratch) {
  tinyopt_lstm_s8_ref(op, in, op->h0, op->c0, y, h, c, scratch);
}
