#include "gru_f32.h"

#include "gates_f32.h"

static void step(const tinyopt_gru_f32 *op, const float *x, float *y, float *h, float *scratch) {
  const int32_t hidden = op->hidden;
  const float *new_recurrent = op->recurrent + 2 * hidden * hidden;
  float *reset = scratch;
  float *update = scratch + hidden;
  float *candidate = scratch + 2 * hidden;
  float *reset_state = scratch + 3 * hidden;
  for (int32_t row = 0; row < 3 * hidden; row++) {
    scratch[row] = tinyopt_dot_f32(op->bias[row], op->weights + row * op->inputs, x, op->inputs);
  }
  for (int32_t row = 0; row < 2 * hidden; row++) {
    scratch[row] = tinyopt_logistic_f32(tinyopt_dot_f32(scratch[row], op->recurrent + row * hidden, h, hidden));
  }
  if (op->new_bias != NULL) {
    for (int32_t j = 0; j < hidden; j++) {
      candidate[j] += reset[j] * tinyopt_dot_f32(op->new_bias[j], new_recurrent + j * hidden, h, hidden);
    }
  } else {
    for (int32_t j = 0; j < hidden; j++) {
      reset_state[j] = reset[j] * h[j];
    }
    for (int32_t j = 0; j < hidden; j++) {
      candidate[j] = tinyopt_dot_f32(candidate[j], new_recurrent + j * hidden, reset_state, hidden);
    }
  }
  for (int32_t j = 0; j < hidden; j++) {
    h[j] = (1.0f - update[j]) * tanhf(candidate[j]) + update[j] * h[j];
    y[j] = h[j];
  }
}

void tinyopt_gru_f32_ref(const tinyopt_gru_f32 *op, const float *in, const float *h0, float *y, float *h,
                         void *scratch) {
  const int32_t hidden = op->hidden;
  if (h != h0) {
    memcpy(h, h0, (size_t)op->batches * (size_t)hidden * sizeof(float));
  }
  for (int32_t b = 0; b < op->batches; b++) {
    for (int32_t k = 0; k < op->steps; k++) {
      const int32_t t = b * op->steps + (op->reverse ? op->steps - 1 - k : k);
      step(op, in + t * op->inputs, y + t * hidden, h + b * hidden, scratch);
    }
  }
}

void tinyopt_gru_f32_fixed_ref(const tinyopt_gru_f32 *op, const float *in, float *y, float *h, void *scratch) {
  tinyopt_gru_f32_ref(op, in, op->h0, y, h, scratch);
}
