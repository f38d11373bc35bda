/* Softmax over the last axis of an int8 tensor.
 *
 * input int8 [rows][depth], output int8 [rows][depth], depth < 4096.
 *
 * With d = input - largest input of the row: e = exp(d in Q5) in Q0, or nothing where d < least_difference; the sum of
 * all e is taken in Q12, and p = e / sum with output_bits fractional bits. Then
 * output = clamp8(requantize(p, multiplier, shift) + output_zero_point). For an output scale of 1/256 and zero point
 * -128, output_bits is 8 and the requantization does nothing: this equals TensorFlow Lite Micro's SOFTMAX bit for bit.
 * For any other output, output_bits is 16.
 *
 * Pointers need no alignment (scratch: 4 bytes). The output may be the memory of the input.
 */
#ifndef TINYOPT_SOFTMAX_S8_H
#define TINYOPT_SOFTMAX_S8_H

#include "common.h"
#include "fixed_point.h"

typedef struct {
  const int32_t *table; /* tinyopt_softmax_s8_table_ref: [1 - least_difference], e of 0, -1, -2, …; else NULL */
  int32_t rows;
  int32_t depth;
  int32_t input_multiplier; /* from input steps to Q5 */
  int32_t input_shift;
  int32_t least_difference;
  int32_t output_bits;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
} tinyopt_softmax_s8;

/* One probability from its exponential, the reciprocal of the sum and the bits of the sum above one. */
static inline int8_t tinyopt_softmax_s8_output(const tinyopt_softmax_s8 *op, int32_t exponential, int32_t inverse,
                                               int bits) {
  int32_t scaled = tinyopt_fixed_multiply(exponential, inverse);
  int shift = bits + 31 - op->output_bits;
  int32_t probability = shift > 31 ? 0 : tinyopt_rounding_shift_right(scaled, shift); /* beyond 31 it is below half */
  int32_t value = probability;
  if (op->output_bits != 8) {
    value = tinyopt_requantize_called(probability, op->multiplier, op->shift);
  }
  return (int8_t)tinyopt_clamp((int32_t)((uint32_t)value + (uint32_t)op->output_zero_point), INT8_MIN, INT8_MAX);
}

static inline int32_t tinyopt_softmax_s8_largest(const int8_t *row, int32_t depth) {
  int32_t largest = row[0];
  for (int32_t i = 1; i < depth; ++i) {
    largest = tinyopt_max(largest, row[i]);
  }
  return largest;
}

/* Portable C; computes each exponential once. scratch: 4 * depth bytes. */
void tinyopt_softmax_s8_ref(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* Portable C; takes the exponentials from a table. */
void tinyopt_softmax_s8_table_ref(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output);

#endif
