/* Matrix product of floats in portable C: one dot product per output, through strides, so that no operand is
 * transposed. */
#include "matmul_f32.h"

static void multiply(const tinyopt_matmul_f32 *op, const float *a, const float *b, float *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    for (int32_t column = 0; column < op->columns; ++column) {
      int32_t at_a = row * op->a_row_stride;
      int32_t at_b = column * op->b_column_stride;
      float sum = 0.0f;
      for (int32_t k = 0; k < op->depth; ++k) {
        sum += a[at_a] * b[at_b];
        at_a += op->a_depth_stride;
        at_b += op->b_depth_stride;
      }
      *output++ = sum;
    }
  }
}

void tinyopt_matmul_f32_ref(const tinyopt_matmul_f32 *op, const float *a, const float *b, float *output) {
  for (int32_t i = 0; i < op->batch[0]; ++i) {
    for (int32_t j = 0; j < op->batch[1]; ++j) {
      for (int32_t k = 0; k < op->batch[2]; ++k) {
        int32_t at_a = i * op->a_batch_stride[0] + j * op->a_batch_stride[1] + k * op->a_batch_stride[2];
        int32_t at_b = i * op->b_batch_stride[0] + j * op->b_batch_stride[1] + k * op->b_batch_stride[2];
        multiply(op, a + at_a, b + at_b, output);
        output += op->rows * op->columns;
      }
    }
  }
}

void tinyopt_matmul_f32_constant_a_ref(const tinyopt_matmul_f32 *op, const float *b, float *output) {
  tinyopt_matmul_f32_ref(op, op->constant, b, output);
}

void tinyopt_matmul_f32_constant_b_ref(const tinyopt_matmul_f32 *op, const float *a, float *output) {
  tinyopt_matmul_f32_ref(op, a, op->constant, output);
}
