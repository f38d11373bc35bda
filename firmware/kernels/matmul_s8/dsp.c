/* Matrix product with the Arm DSP extension: one row by four columns at a time. Four columns of b are widened once,
 * less their zero point, and every row of a then runs past them, widened on the way. */
#include "dsp.h"
#include "matmul_s8.h"

enum { COLUMNS = 4, TAPS = 4 };

/* Taps k and k+2, and k+1 and k+3, of a column as pairs; behind its end there are zeros. */
static void widen_taps(const tinyopt_matmul_s8 *op, const int8_t *column, int32_t left, uint32_t *words) {
  uint32_t minus_zero = tinyopt_pair(-op->b_zero_point, -op->b_zero_point);
  if (left >= TAPS && op->b_depth_stride == 1) {
    uint32_t word = tinyopt_load_s8x4(column);
    words[0] = tinyopt_sxtab16(minus_zero, word);
    words[1] = tinyopt_sxtab16_ror8(minus_zero, word);
    return;
  }
  int32_t taps[TAPS] = {0};
  for (int32_t k = 0; k < TAPS && k < left; ++k) {
    taps[k] = column[k * op->b_depth_stride] - op->b_zero_point;
  }
  words[0] = tinyopt_pair(taps[0], taps[2]);
  words[1] = tinyopt_pair(taps[1], taps[3]);
}

/* Four taps of four columns that lie side by side, `row` bytes from tap to tap. */
static void widen_square(const int8_t *from, int32_t row, uint32_t minus_zero, uint32_t *words) {
  uint32_t taps[TAPS];
  for (int32_t k = 0; k < TAPS; ++k) {
    taps[k] = tinyopt_load_s8x4(from + k * row);
  }
  for (int32_t odd = 0; odd < 2; ++odd) { /* taps k and k+2, then k+1 and k+3 */
    uint32_t low = tinyopt_sxtab16(minus_zero, taps[odd]);
    uint32_t high = tinyopt_sxtab16(minus_zero, taps[odd + 2]);
    words[odd] = tinyopt_pack_low(low, high);
    words[odd + 4] = tinyopt_pack_high(low, high);
    low = tinyopt_sxtab16_ror8(minus_zero, taps[odd]);
    high = tinyopt_sxtab16_ror8(minus_zero, taps[odd + 2]);
    words[odd + 2] = tinyopt_pack_low(low, high);
    words[odd + 6] = tinyopt_pack_high(low, high);
  }
}

/* `count` columns of b; those that are missing to four become zero. */
__attribute__((noinline)) static void widen_columns(const tinyopt_matmul_s8 *op, const int8_t *b, int32_t count,
                                                    uint32_t *words) {
  uint32_t minus_zero = tinyopt_pair(-op->b_zero_point, -op->b_zero_point);
  bool square = count == COLUMNS && op->b_column_stride == 1;
  for (int32_t left = op->depth; left > 0; left -= TAPS, b += TAPS * op->b_depth_stride, words += 2 * COLUMNS) {
    if (square && left >= TAPS) {
      widen_square(b, op->b_depth_stride, minus_zero, words);
      continue;
    }
    for (int32_t column = 0; column < COLUMNS; ++column) {
      const int8_t *from = column < count ? b + column * op->b_column_stride : b;
      widen_taps(op, from, column < count ? left : 0, words + 2 * column);
    }
  }
}

/* The sums of a row with four columns. */
__attribute__((noinline)) static void sum_row(const tinyopt_matmul_s8 *op, const int8_t *row, const uint32_t *words,
                                              int32_t *sums) {
  uint32_t minus_zero = tinyopt_pair(-op->a_zero_point, -op->a_zero_point);
  int32_t first = 0;
  int32_t second = 0;
  int32_t third = 0;
  int32_t fourth = 0;
  for (int32_t left = op->depth; left > 0; left -= TAPS, row += TAPS, words += 2 * COLUMNS) {
    uint32_t word = left >= TAPS ? tinyopt_load_s8x4(row) : tinyopt_load_s8_tail(row, left);
    uint32_t even = tinyopt_sxtab16(minus_zero, word);
    uint32_t odd = tinyopt_sxtab16_ror8(minus_zero, word);
    first = tinyopt_smlad(odd, words[1], tinyopt_smlad(even, words[0], first));
    second = tinyopt_smlad(odd, words[3], tinyopt_smlad(even, words[2], second));
    third = tinyopt_smlad(odd, words[5], tinyopt_smlad(even, words[4], third));
    fourth = tinyopt_smlad(odd, words[7], tinyopt_smlad(even, words[6], fourth));
  }
  sums[0] = first;
  sums[1] = second;
  sums[2] = third;
  sums[3] = fourth;
}

static void multiply_row(const tinyopt_matmul_s8 *op, const int8_t *row, int32_t count, const uint32_t *words,
                         int8_t *output) {
  int32_t offset = 2 * op->output_zero_point + 1;
  int32_t sums[COLUMNS];
  sum_row(op, row, words, sums);
  for (int32_t i = 0; i < count; ++i) {
    output[i] = tinyopt_requantize_doubled_s8(2 * sums[i], op->multiplier, -op->shift - 1, offset);
  }
}

static void multiply(const tinyopt_matmul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output, void *scratch) {
  uint32_t *words = scratch;
  int8_t *gathered = (int8_t *)scratch + 2 * COLUMNS * ((op->depth + TAPS - 1) / TAPS) * (int32_t)sizeof(uint32_t);
  for (int32_t column = 0; column < op->columns; column += COLUMNS, b += COLUMNS * op->b_column_stride) {
    int32_t count = tinyopt_min(COLUMNS, op->columns - column);
    widen_columns(op, b, count, words);
    for (int32_t row = 0; row < op->rows; ++row) {
      const int8_t *from = a + row * op->a_row_stride;
      if (op->a_depth_stride != 1) {
        for (int32_t k = 0; k < op->depth; ++k) {
          gathered[k] = from[k * op->a_depth_stride];
        }
        from = gathered;
      }
      multiply_row(op, from, count, words, output + row * op->columns + column);
    }
  }
}

void tinyopt_matmul_s8_dsp(const tinyopt_matmul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output,
                           void *scratch) {
  for (int32_t i = 0; i < op->batch[0]; ++i) {
    for (int32_t j = 0; j < op->batch[1]; ++j) {
      for (int32_t k = 0; k < op->batch[2]; ++k) {
        int32_t at_a = i * op->a_batch_stride[0] + j * op->a_batch_stride[1] + k * op->a_batch_stride[2];
        int32_t at_b = i * op->b_batch_stride[0] + j * op->b_batch_stride[1] + k * op->b_batch_stride[2];
        multiply(op, a + at_a, b + at_b, output, scratch);
        output += op->rows * op->columns;
      }
    }
  }
}

void tinyopt_matmul_s8_constant_a_dsp(const tinyopt_matmul_s8 *op, const int8_t *b, int8_t *output, void *scratch) {
  tinyopt_matmul_s8_dsp(op, op->constant, b, output, scratch);
}

void tinyopt_matmul_s8_constant_b_dsp(const tinyopt_matmul_s8 *op, const int8_t *a, int8_t *output, void *scratch) {
  tinyopt_matmul_s8_dsp(op, a, op->constant, output, scratch);
}
