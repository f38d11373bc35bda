#include "lstm_f32.h"

#include "gates_f32.h"

static void step(const tinyopt_lstm_f32 *op, const float *x, float *y, float *h, float *c, float *gates) {
  const int32_t hidden = op->hidden;
  /* All gates read the old hidden state, so it changes only after the last of them. */
  for (int32_t row = 0; row < 4 * hidden; row++) {
    const float sum = tinyopt_dot_f32(op->bias[row], op->weights + row * op->inputs, x, op->inputs);
    gates[row] = tinyopt_dot_f32(sum, op->recurrent + row * hidden, h, hidden);
  }
  for (int32_t j = 0; j < hidden; j++) {
    const float in_gate = tinyopt_logistic_f32(gates[j]);
    const float forget_gate = tinyopt_logistic_f32(gates[hidden + j]);
    const float candidate = tanhf(gates[2 * hidden + j]);
    const float out_gate = tinyopt_logistic_f32(gates[3 * hidden + j]);
    float cell = forget_gate * c[j] + in_gate * candidate;
    if (op->cell_clip > 0.0f) {
      cell = fminf(fmaxf(cell, -op->cell_clip), op->cell_clip);
    }
    c[j] = cell;
    h[j] = out_gate * tanhf(cell);
    y[j] = h[j];
  }
}

void tinyopt_lstm_f32_ref(const tinyopt_lstm_f32 *op, const float *in, const float *h0, const float *c0, float *y,
                          float *h, float *c, void *scratch) {
  const int32_t hidden = op->hidden;
  const size_t state = (size_t)op->batches * (size_t)hidden * sizeof(float);
  if (h != h0) {
    memcpy(h, h0, state);
  }
  if (c != c0) {
    memcpy(c, c0, state);
  }
  for (int32_t b = 0; b < op->batches; b++) {
    for (int32_t k = 0; k < op->steps; k++) {
      const int32_t t = b * op->steps + (op->reverse ? op->steps - 1 - k : k);
      step(op, in + t * op->inputs, y + t * hidden, h + b * hidden, c + b * hidden, scratch);
    }
  }
}

void tinyopt_lstm_f32_fixed_ref(const tinyopt_lstm_f32 *op, const float *in, float *y, float *h, float *c,
                                void *scratch) {
  tinyopt_lstm_f32_ref(op, in, op->h0, op->c0, y, h, c, scratch);
}
