#include "softmax_s8.h"

void tinyopt_softmax_s8_table_ref(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output) {
  for (int32_t row = 0; row < op->rows; ++row) {
    int32_t largest = tinyopt_softmax_s8_largest(input, op->depth);
    int32_t sum = 0;
    for (int32_t i = 0; i < op->depth; ++i) {
      int32_t steps = largest - input[i];
      if (steps <= -op->least_difference) {
        sum += tinyopt_rounding_shift_right(op->table[steps], 12);
      }
    }
    int bits;
    int32_t inverse = tinyopt_reciprocal(sum, 12, &bits);
    for (int32_t i = 0; i < op->depth; ++i) {
      int32_t steps = largest - input[i];
      int32_t exponential = steps <= -op->least_difference ? op->table[steps] : 0;
      output[i] = tinyopt_softmax_s8_output(op, exponential, inverse, bits);
    }
    input += op->depth;
    output += op->depth;
  }
}
