#include "softmax_s8.h"

/* The sum of a row's exponentials, in Q12. */
static int32_t sum_of(const tinyopt_softmax_s8 *op, const int8_t *input, int32_t largest) {
  const int32_t *table = op->table;
  const int32_t most = -op->least_difference;
  const int8_t *end = input + op->depth;
  int32_t sum = 0;
  for (; input < end; ++input) {
    int32_t steps = largest - *input;
    if (steps <= most) {
      sum += (int32_t)(((uint32_t)table[steps] + (1u << 11)) >> 12);
    }
  }
  return sum;
}

/* What all outputs of a row need: it is copied, as the compiler must assume that a written byte
 * may change what *op holds. */
typedef struct {
  const int32_t *table;
  int32_t most; /* steps of the last exponential of the table */
  int32_t largest;
  tinyopt_softmax_s8_scale scale;
} row_t;

static inline int32_t probability_of(const row_t *row, int32_t value) {
  int32_t steps = row->largest - value;
  return steps <= row->most ? tinyopt_softmax_s8_probability(row->table[steps], &row->scale) : 0;
}

static void write_canonical(row_t row, const int8_t *input, int8_t *output, int32_t depth) {
  for (const int8_t *end = input + depth; input < end;) {
    *output++ = (int8_t)(tinyopt_min(probability_of(&row, *input++), 255) - 128);
  }
}

static void write_any(const tinyopt_softmax_s8 *op, row_t row, const int8_t *input, int8_t *output) {
  for (const int8_t *end = input + op->depth; input < end;) {
    *output++ = tinyopt_softmax_s8_output(op, probability_of(&row, *input++));
  }
}

enum { LONG_ROW = 64 }; /* where a search pays */

/* The last steps that may have a probability above zero. Below 2^(shift - 1) an exponential has none. Half of that is
 * looked for, so that it does not matter that rounding may put neighbours of the table out of order. */
static int32_t last_above_zero(const row_t *row) {
  const int32_t least = 1 << (row->scale.shift - 2);
  int32_t above = 0;
  int32_t below = row->most + 1;
  while (below - above > 1) {
    int32_t middle = (above + below) >> 1;
    if (row->table[middle] < least) {
      below = middle;
    } else {
      above = middle;
    }
  }
  return above;
}

void tinyopt_softmax_s8_table_ref(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t i = 0; i < op->rows; ++i, input += op->depth, output += op->depth) {
    row_t row = {.table = op->table, .most = -op->least_difference};
    row.largest = tinyopt_softmax_s8_largest(input, op->depth);
    row.scale = tinyopt_softmax_s8_scale_of(op, sum_of(op, input, row.largest));
    if (op->depth >= LONG_ROW) {
      row.most = last_above_zero(&row);
    }
    if (op->output_bits == 8) {
      write_canonical(row, input, output, op->depth);
    } else {
      write_any(op, row, input, output);
    }
  }
}
