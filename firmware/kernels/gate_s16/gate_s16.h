/* Logistic and tanh of int16 values.
 *
 * input int16 [size], zero point 0; output int16 [size] in Q0.15.
 *
 * The input is brought to the scale 1 / (3 * 2^12) as (input * multiplier + rounding) >> shift, and looked up in a
 * table of logistic(i / 24) with linear interpolation; tanh(x) = 2 logistic(2x) - 1. This equals TensorFlow Lite
 * Micro's int16 LOGISTIC and TANH bit for bit. Pointers are aligned to two bytes; the output may be the memory of the
 * input.
 */
#ifndef TINYOPT_GATE_S16_H
#define TINYOPT_GATE_S16_H

#include "common.h"
#include "gates_s16.h"

typedef struct {
  const uint16_t *table; /* [256] */
  int32_t size;
  int32_t multiplier; /* 0 … 32767 */
  int32_t shift;      /* to the right, 0 … 31 */
} tinyopt_gate_s16;

/* The input at the table's own scale. */
static inline int32_t tinyopt_gate_s16_scaled(const tinyopt_gate_s16 *op, int32_t value) {
  int32_t rounding = op->shift > 0 ? (int32_t)(1u << (op->shift - 1)) : 0;
  return (value * op->multiplier + rounding) >> op->shift;
}

/* Portable C. */
void tinyopt_logistic_s16_ref(const tinyopt_gate_s16 *op, const int16_t *input, int16_t *output);

/* Portable C. */
void tinyopt_tanh_s16_ref(const tinyopt_gate_s16 *op, const int16_t *input, int16_t *output);

#endif
