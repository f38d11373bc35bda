/* Matrix product in portable C: one dot product per output, through strides, so that no operand is transposed. */
#include "matmul_s8.h"

static void multiply(const tinyopt_matmul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    for (int32_t column = 0; column < op->columns; ++column) {
      int32_t at_a = row * op->a_row_stride;
      int32_t at_b = column * op->b_column_stride;
      int32_t sum = 0;
      for (int32_t k = 0; k < op->depth; ++k) {
        sum = tinyopt_mac(sum, a[at_a] - op->a_zero_point, b[at_b] - op->b_zero_point);
        at_a += op->a_depth_stride;
        at_b += op->b_depth_stride;
      }
      *output++ = tinyopt_requantize_s8(sum, op->multiplier, op->shift, op->output_zero_point, INT8_MIN, INT8_MAX);
    }
  }
}

void tinyopt_matmul_s8_ref(const tinyopt_matmul_s8 *op, const int8_t *a, const int8_t *b, int8_t *output) {
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

void tinyopt_matmul_s8_constant_a_ref(const tinyopt_matmul_s8 *op, const int8_t *b, int8_t *output) {
  tinyopt_matmul_s8_ref(op, op->constant, b, output);
}

void tinyopt_matmul_s8_constant_b_ref(const tinyopt_matmul_s8 *op, const int8_t *a, int8_t *output) {
  tinyopt_matmul_s8_ref(op, a, op->constant, output);
}
