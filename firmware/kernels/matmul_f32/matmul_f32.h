/* Matrix product of two float32 tensors.
 *
 * a holds matrices [rows][depth], b matrices [depth][columns], either stored transposed; up to three batch axes in
 * front, where an axis of 1 serves all indices of the other operand.
 * output float [batch[0]][batch[1]][batch[2]][rows][columns] = sum over k of a[row][k] * b[k][column]. Sums are
 * float32 in the order of k; other kernels and the float executor may differ by rounding.
 *
 * Inputs and output must not overlap; a and b may be the same memory. No scratch.
 */
#ifndef TINYOPT_MATMUL_F32_H
#define TINYOPT_MATMUL_F32_H

#include "common.h"

typedef struct {
  const float *constant; /* the operand that is a constant, or NULL */
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
} tinyopt_matmul_f32;

/* Portable C; both operands are activations. */
void tinyopt_matmul_f32_ref(const tinyopt_matmul_f32 *op, const float *a, const float *b, float *output);

/* Portable C; a, or b, is op->constant. */
void tinyopt_matmul_f32_constant_a_ref(const tinyopt_matmul_f32 *op, const float *b, float *output);
void tinyopt_matmul_f32_constant_b_ref(const tinyopt_matmul_f32 *op, const float *a, float *output);

#endif
