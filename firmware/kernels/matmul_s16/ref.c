/* Matrix product of int16 tensors in portable C: one dot product per output, through strides, so that no operand is
 * transposed. */
#include "matmul_s16.h"

static void multiply(const tinyopt_matmul_s16 *op, const int16_t *a, const int16_t *b, int16_t *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    for (int32_t column = 0; column < op->columns; ++column) {
      int32_t at_a = row * op->a_row_stride;
      int32_t at_b = column * op->b_column_stride;
      int64_t sum = 0;
      for (int32_t k = 0; k < op->depth; ++k) {
        sum += a[at_a] * b[at_b];
        at_a += op->a_depth_stride;
        at_b += op->b_depth_stride;
      }
      *output++ = tinyopt_requantize_s16(sum, op->multiplier, op->shift, true, INT16_MIN, INT16_MAX);
    }
  }
}

void tinyopt_matmul_s16_ref(const tinyopt_matmul_s16 *op, const int16_t *a, const int16_t *b, int16_t *output) {
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

void tinyopt_matmul_s16_constant_a_ref(const tinyopt_matmul_s16 *op, const int16_t *b, int16_t *output) {
  tinyopt_matmul_s16_ref(op, op->constant, b, output);
}

void tinyopt_matmul_s16_constant_b_ref(const tinyopt_matmul_s16 *op, const int16_t *a, int16_t *output) {
  tinyopt_matmul_s16_ref(op, a, op->constant, output);
}
