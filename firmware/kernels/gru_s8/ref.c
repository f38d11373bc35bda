#include "gru_s8.h"

/* A Q0.15 state as the int8 output shows it. */
static int8_t shown(const tinyopt_gru_s8 *op, int32_t state) {
  return (int8_t)tinyopt_clamp(tinyopt_requantize(state, op->output_multiplier, op->output_shift) + op->output_zero,
                               INT8_MIN, INT8_MAX);
}

static void step(const tinyopt_gru_s8 *op, const int8_t *x, int8_t *y, int16_t *h, int16_t *scratch) {
  const int32_t hidden = op->hidden;
  int16_t *reset = scratch;
  int16_t *update = scratch + hidden;
  int16_t *candidate = scratch + 2 * hidden;
  int8_t *state = (int8_t *)(scratch + 3 * hidden);
  int8_t *reset_state = state + hidden;
  for (int32_t j = 0; j < hidden; j++) {
    state[j] = shown(op, h[j]);
  }
  for (int32_t gate = 0, row = 0; gate < 2; gate++) {
    for (int32_t j = 0; j < hidden; j++, row++) {
      const int32_t sum =
          tinyopt_gate_sum(&op->input, gate, row, x) + tinyopt_gate_sum(&op->recurrent, gate, row, state);
      scratch[row] = (int16_t)tinyopt_logistic_s16(op->logistic, tinyopt_saturate_s16(sum));
    }
  }
  if (!op->linear_before_reset) {
    for (int32_t j = 0; j < hidden; j++) {
      reset_state[j] = shown(op, tinyopt_rounded_q15(reset[j] * h[j]));
    }
  }
  for (int32_t j = 0; j < hidden; j++) {
    const int32_t row = 2 * hidden + j;
    int32_t recalled;
    if (op->linear_before_reset) {
      recalled = tinyopt_rounded_q15(reset[j] * tinyopt_gate_sum(&op->recurrent, 2, row, state));
    } else {
      recalled = tinyopt_gate_sum(&op->recurrent, 2, row, reset_state);
    }
    const int32_t sum = tinyopt_saturate_s16(tinyopt_gate_sum(&op->input, 2, row, x) + recalled);
    candidate[j] = (int16_t)tinyopt_tanh_s16(op->logistic, sum, 0);
  }
  for (int32_t j = 0; j < hidden; j++) {
    /* The weights sum to 2^15, so the sum stays within 2^30. */
    h[j] = (int16_t)tinyopt_rounded_q15(((1 << 15) - update[j]) * candidate[j] + update[j] * h[j]);
    y[j] = shown(op, h[j]);
  }
}

void tinyopt_gru_s8_ref(const tinyopt_gru_s8 *op, const int8_t *in, const int16_t *h0, int8_t *y, int16_t *h,
                        void *scratch) {
  const int32_t hidden = op->hidden;
  if (h != h0) {
    memcpy(h, h0, (size_t)op->batches * (size_t)hidden * sizeof(int16_t));
  }
  for (int32_t b = 0; b < op->batches; b++) {
    for (int32_t k = 0; k < op->steps; k++) {
      const int32_t t = b * op->steps + (op->reverse ? op->steps - 1 - k : k);
      step(op, in + t * op->input.columns, y + t * hidden, h + b * hidden, scratch);
    }
  }
}

void tinyopt_gru_s8_fixed_ref(const tinyopt_gru_s8 *op, const int8_t *in, int8_t *y, int16_t *h, void *scratch) {
  tinyopt_gru_s8_ref(op, in, op->h0, y, h, scratch);
}
