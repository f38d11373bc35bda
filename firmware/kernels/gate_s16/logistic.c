#include "gate_s16.h"

void tinyopt_logistic_s16_ref(const tinyopt_gate_s16 *op, const int16_t *input, int16_t *output) {
  for (int32_t i = 0; i < op->size; ++i) {
    output[i] = (int16_t)tinyopt_logistic_scaled(op->table, tinyopt_gate_s16_scaled(op, input[i]));
  }
}
