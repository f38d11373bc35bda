/* Softmax over rows of an int8 tensor, computed by CMSIS-NN's arm_softmax_s8.
 *
 * The result is that of softmax_s8.h for an output of scale 1/256 and zero point -128, bit for bit, for rows of less
 * than 512 elements: with more, a sum of exponentials can reach 2^28, and a shift by more than 31 would follow.
 *
 * input int8 [rows][depth], output int8 [rows][depth]. The output may be the memory of the input.
 */
#ifndef TINYOPT_CMSIS_NN_SOFTMAX_S8_H
#define TINYOPT_CMSIS_NN_SOFTMAX_S8_H

#include <arm_nnfunctions.h>

typedef struct {
  int32_t rows;
  int32_t depth;
  int32_t multiplier; /* from input steps to Q5 */
  int32_t shift;      /* to the left, never negative */
  int32_t least_difference;
} tinyopt_cmsis_nn_softmax_s8;

void tinyopt_softmax_s8_cmsis_nn(const tinyopt_cmsis_nn_softmax_s8 *op, const int8_t *input, int8_t *output);

#endif
