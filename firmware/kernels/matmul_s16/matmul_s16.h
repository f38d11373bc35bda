/* Matrix product of two int16 tensors.
 *
 * a holds matrices [rows][depth], b matrices [depth][columns], either stored transposed; up to three batch axes in
 * front, where an axis of 1 serves all indices of the other operand.
 * output int16 [batch[0]][batch[1]][batch[2]][rows][columns] = clamp to int16 of requantize(sum, multiplier, shift),
 * where sum = sum over k of a[row][k] * b[k][column], exact in 64 bits; the multiplier is rounded to 15 bits. Zero
 * points are 0. The product of the two scales is rounded to float32 before the multiplier is made. This equals
 * TensorFlow Lite Micro's reference kernel bit for bit.
 *
 * Pointers need the alignment of int16_t. Inputs and output must not overlap; a and b may be the same memory. No
 * scratch.
 */
#ifndef TINYOPT_MATMUL_S16_H
#define TINYOPT_MATMUL_S16_H

#include "common.h"

typedef struct {
  const int16_t *constant; /* the operand that is a constant, or NULL */
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
  int32_t multiplier;
  int32_t shift; /* at most 7 */
} tinyopt_matmul_s16;

/* Portable C; both operands are activations. */
void tinyopt_matmul_s16_ref(const tinyopt_matmul_s16 *op, const int16_t *a, const int16_t *b, int16_t *output);

/* Portable C; a, or b, is op->constant. */
void tinyopt_matmul_s16_constant_a_ref(const tinyopt_matmul_s16 *op, const int16_t *b, int16_t *output);
void tinyopt_matmul_s16_constant_b_ref(const tinyopt_matmul_s16 *op, const int16_t *a, int16_t *output);

#endif
