#include "binary_f32.h"

static float apply(int32_t operation, float a, float b) {
  switch (operation) {
  case TINYOPT_ADD:
    return a + b;
  case TINYOPT_SUB:
    return a - b;
  case TINYOPT_MUL:
    return a * b;
  case TINYOPT_DIV:
    return a / b;
  case TINYOPT_MINIMUM:
    return a < b ? a : b;
  default:
    return a > b ? a : b;
  }
}

void tinyopt_binary_f32_ref(const tinyopt_binary_f32 *op, const float *a, const float *b, float *output) {
  tinyopt_broadcast_row row = {0};
  do {
    const float *a_value = a + row.a;
    const float *b_value = b + row.b;
    for (int32_t i = 0; i < op->broadcast.columns; ++i) {
      float value = apply(op->operation, *a_value, *b_value);
      if (op->clamped) {
        value = value < op->clamp_low ? op->clamp_low : (value > op->clamp_high ? op->clamp_high : value);
      }
      *output++ = value;
      a_value += op->broadcast.a_step;
      b_value += op->broadcast.b_step;
    }
  } while (tinyopt_broadcast_next(&op->broadcast, &row));
}

void tinyopt_binary_f32_constant_ref(const tinyopt_binary_f32 *op, const float *input, float *output) {
  if (op->constant_first) {
    tinyopt_binary_f32_ref(op, op->constant, input, output);
  } else {
    tinyopt_binary_f32_ref(op, input, op->constant, output);
  }
}
