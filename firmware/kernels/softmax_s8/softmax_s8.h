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
  const int32_t *table; /* kernels with a table: [1 - least_difference], e of 0, -1, -2, …; else NULL */
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

/* What the outputs of a row share: the reciprocal of the sum, and how far a product with it is shifted. */
typedef struct {
  int32_t inverse;
  int32_t shift; /* at most 31 */
} tinyopt_softmax_s8_scale;

static inline tinyopt_softmax_s8_scale tinyopt_softmax_s8_scale_of(const tinyopt_softmax_s8 *op, int32_t sum) {
  int bits;
  int32_t inverse = tinyopt_reciprocal(sum, 12, &bits);
  int32_t shift = bits + 31 - op->output_bits;
  /* Beyond 31 every probability is below half. */
  return shift > 31 ? (tinyopt_softmax_s8_scale){0, 31} : (tinyopt_softmax_s8_scale){inverse, shift};
}

/* A probability from its exponential. The contract rounds twice: (e * inverse + 2^30) >> 31, and that shifted to the
 * right by `shift`. Neither is negative, so both roundings are added at once, and what is below 2^32 is cut off. */
static inline int32_t tinyopt_softmax_s8_probability(int32_t exponential, const tinyopt_softmax_s8_scale *scale) {
  uint32_t half = 1u << (scale->shift - 2);
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
  /* Without a long multiply: the product of the upper halves decides nearly always. */
  uint32_t high = (uint32_t)exponential >> 16;
  uint32_t inverse_high = (uint32_t)scale->inverse >> 16;
  uint32_t least = high * inverse_high + half;
  uint32_t most = least + high + inverse_high + 2u;
  uint32_t probability = least >> (scale->shift - 1);
  if (probability == most >> (scale->shift - 1)) {
    return (int32_t)probability;
  }
  return tinyopt_rounding_shift_right(tinyopt_fixed_multiply(exponential, scale->inverse), scale->shift);
#else
  uint64_t product = (uint64_t)(uint32_t)exponential * (uint32_t)scale->inverse;
  product += (uint64_t)half << 32 | 1u << 30;
  return (int32_t)((uint32_t)(product >> 32) >> (scale->shift - 1));
#endif
}

/* The output that stands for a probability. */
static inline int8_t tinyopt_softmax_s8_output(const tinyopt_softmax_s8 *op, int32_t probability) {
  int32_t value = probability;
  if (op->output_bits != 8) {
    value = tinyopt_requantize_called(probability, op->multiplier, op->shift);
  }
  return (int8_t)tinyopt_clamp((int32_t)((uint32_t)value + (uint32_t)op->output_zero_point), INT8_MIN, INT8_MAX);
}

static inline int32_t tinyopt_softmax_s8_largest(const int8_t *row, int32_t depth) {
  int32_t largest = row[0];
  const int8_t *end = row + depth;
  for (; end - row > 3; row += 4) { /* the loads follow each other, which is faster */
    int32_t first = row[0];
    int32_t second = row[1];
    int32_t third = row[2];
    int32_t fourth = row[3];
    largest = tinyopt_max(largest, tinyopt_max(tinyopt_max(first, second), tinyopt_max(third, fourth)));
  }
  for (; row < end; ++row) {
    largest = tinyopt_max(largest, *row);
  }
  return largest;
}

/* Portable C; computes each exponential once. scratch: 4 * depth bytes. */
void tinyopt_softmax_s8_ref(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* Portable C; takes the exponentials from a table. */
void tinyopt_softmax_s8_table_ref(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE): as ref, and as table_ref. */
void tinyopt_softmax_s8_mve(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_softmax_s8_table_mve(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output);

#endif
