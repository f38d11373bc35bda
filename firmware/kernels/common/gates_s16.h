/* Gates of quantized recurrent layers.
 *
 * Contract: a gate's sum is int16 with scale 2^-12, the saturated sum of two saturated products. Logistic and tanh are
 * TensorFlow Lite's int16 functions: a table of logistic(i / 24) with 16 fractional bits, interpolated linearly;
 * results are Q0.15.
 */
#ifndef TINYOPT_GATES_S16_H
#define TINYOPT_GATES_S16_H

#include "common.h"

/* One matrix product of the gates: int8 vector in, int16 sums out. */
typedef struct {
  int32_t columns;
  const int8_t *weights;     /* [rows][columns] */
  const int32_t *bias;       /* [rows]: bias - zero_point * sum of the row */
  const int32_t *multiplier; /* to scale 2^-12: [rows] where per_row, else [gates] */
  const int8_t *shift;
  bool per_row;
} tinyopt_gate_product;

static inline int32_t tinyopt_saturate_s16(int32_t value) {
  return tinyopt_clamp(value, INT16_MIN, INT16_MAX);
}

/* A product with a Q0.15 factor, back to the scale of the other: to nearest, ties up. */
static inline int32_t tinyopt_rounded_q15(int32_t product) {
  return (product + (1 << 14)) >> 15;
}

/* The sum of one row, saturated to int16. */
static inline int32_t tinyopt_gate_sum(const tinyopt_gate_product *op, int32_t gate, int32_t row,
                                       const int8_t *vector) {
  const int8_t *weights = op->weights + row * op->columns;
  const int32_t scale = op->per_row ? row : gate;
  int32_t sum = op->bias[row];
  for (int32_t i = 0; i < op->columns; i++) {
    sum += weights[i] * vector[i];
  }
  return tinyopt_saturate_s16(tinyopt_requantize(sum, op->multiplier[scale], op->shift[scale]));
}

/* table at magnitude / 2^bits, times 2^bits; beyond the table: saturated. */
static inline int32_t tinyopt_gate_table(const uint16_t *table, int32_t magnitude, int bits, int32_t saturated) {
  const int32_t index = magnitude >> bits;
  if (index >= 255) {
    return saturated;
  }
  const int32_t low = table[index];
  return (low << bits) + (magnitude & ((1 << bits) - 1)) * (table[index + 1] - low);
}

/* scaled: with scale 1 / (3 * 2^12), the table's own. */
static inline int32_t tinyopt_logistic_scaled(const uint16_t *table, int32_t scaled) {
  const int32_t result = tinyopt_gate_table(table, scaled < 0 ? -scaled : scaled, 9, 0x7fff << 10);
  return (scaled >= 0 ? result + (1 << 9) : (1 << 25) - result + (1 << 9) - 1) >> 10;
}

/* value: int16 with scale 2^-12. */
static inline int32_t tinyopt_logistic_s16(const uint16_t *table, int32_t value) {
  return tinyopt_logistic_scaled(table, value * 3);
}

/* scaled: with scale 1 / (3 * 2^12), the table's own. */
static inline int32_t tinyopt_tanh_scaled(const uint16_t *table, int32_t scaled) {
  const int32_t result = tinyopt_gate_table(table, scaled < 0 ? -scaled : scaled, 8, 0xffff << 8);
  return (scaled >= 0 ? result - (1 << 23) + (1 << 7) : (1 << 23) - result + (1 << 7) - 1) >> 8;
}

/* value: int16 with scale 2^(shift - 12), -8 <= shift <= 14. */
static inline int32_t tinyopt_tanh_s16(const uint16_t *table, int32_t value, int shift) {
  const int32_t tripled = value * 3;
  return tinyopt_tanh_scaled(table, shift >= 0 ? tripled * (1 << shift) : (tripled + (1 << (-shift - 1))) >> -shift);
}

#endif
