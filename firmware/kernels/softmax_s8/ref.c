#include "softmax_s8.h"

void tinyopt_softmax_s8_ref(const tinyopt_softmax_s8 *op, const int8_t *input, int8_t *output, void *scratch) {
  int32_t *exponentials = scratch;
  for (int32_t row = 0; row < op->rows; ++row) {
    int32_t largest = tinyopt_softmax_s8_largest(input, op->depth);
    int32_t sum = 0;
    for (int32_t i = 0; i < op->depth; ++i) {
      int32_t difference = input[i] - largest;
      int32_t exponential = 0;
      if (difference >= op->least_difference) {
        int32_t scaled = tinyopt_requantize_called(difference, op->input_multiplier, op->input_shift);
        exponential = tinyopt_exp_on_negative_values(scaled);
      }
      exponentials[i] = exponential;
      sum += (int32_t)(((uint32_t)exponential + (1u << 11)) >> 12);
    }
    const tinyopt_softmax_s8_scale scale = tinyopt_softmax_s8_scale_of(op, sum);
    for (int32_t i = 0; i < op->depth; ++i) {
      output[i] = tinyopt_softmax_s8_output(op, tinyopt_softmax_s8_probability(exponentials[i], &scale));
    }
    input += op->depth;
    output += op->depth;
  }
}
