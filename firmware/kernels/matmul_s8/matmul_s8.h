/* Matrix product of two int8 tensors.
 *
 * a holds matrices [rows][depth], b matrices [depth][columns], either stored transposed; up to three batch axes in
 * front, where an axis of 1 serves all indices of the other operand.
 * output int8 [batch[0]][batch[1]][batch[2]][rows][columns] =
 * clamp to int8 of (requantize(sum, multiplier, shift) + output_zero_point), where sum = sum over k of
 * (a[row][k] - a_zero_point) * (b[k][column] - b_zero_point), modulo 2^32. The product of the two scales is rounded to
 * float32 before the multiplier is made. This equals TensorFlow Lite Micro's reference kernel bit for bit.
 *
 * Pointers need no alignment. Inputs and output must not overlap; a and b may be the same memory. scratch: none,
 * unless a kernel says so.
 */
#ifndef TINYOPT_MATMUL_S8_H
#define TINYOPT_MATMUL_S8_H

#include "common.h"

typedef struct {
  const int8_t *constant; /* the operand that is a constant, or NULL */
  int32_t batch[3];
  int32_t a_batch_stride[3]; /* elements between two matrices along a batch axis; 0 repeats */
  int32_t b_batch_stride[3];
  int32_t rows;
  int32_t depth;
  int32_t columns;
  int32_t a_row_stride; /* elements between a[row][k] and a[row + 1][k] */
  int32_t a_depth_stride;
  int32_t b_depth_stride;
  int32_t b_column_stride;
  int32_t a_zero_point;
  int32_t b_zero_point;
  int32_t output_zero_point;
  int32_t multiplier;
  int32_t shift;
} tinyopt_matmul_s8;

/* Portable C; both operands are activations. */
void tinyopt_matmul_s8_ref(const tinyopt_matmul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* Portable C; a, or b, is op->constant. */
void tinyopt_matmul_s8_constant_a_ref(const tinyopt_matmul_s8 *op, const int8_t *b, int8_t *output);
void tinyopt_matmul_s8_constant_b_ref(const tinyopt_matmul_s8 *op, const int8_t *a, int8_t *output);

/* Arm DSP extension, one row by four columns at a time. Every sum is below 2^30, the shift is to the right. scratch,
 * aligned to four: 8 bytes per element of the depth padded to a multiple of four, and behind them one byte per element
 * of the depth unless a_depth_stride is 1. */
void tinyopt_matmul_s8_dsp(const tinyopt_matmul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output,
                           void *scratch);
void tinyopt_matmul_s8_constant_a_dsp(const tinyopt_matmul_s8 *op, const int8_t *b, int8_t *output, void *scratch);
void tinyopt_matmul_s8_constant_b_dsp(const tinyopt_matmul_s8 *op, const int8_t *a, int8_t *output, void *scratch);

#endif
