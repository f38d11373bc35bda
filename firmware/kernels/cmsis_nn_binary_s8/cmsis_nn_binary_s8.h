/* Elementwise sum and product of two int8 tensors of one shape, computed by CMSIS-NN's arm_elementwise_add_s8 and
 * arm_elementwise_mul_s8.
 *
 * The results are those of add_s8.h and mul_s8.h, bit for bit. CMSIS-NN must be compiled without
 * CMSIS_NN_USE_SINGLE_ROUNDING.
 *
 * The output may be the memory of an input.
 */
#ifndef TINYOPT_CMSIS_NN_BINARY_S8_H
#define TINYOPT_CMSIS_NN_BINARY_S8_H

#include <arm_nnfunctions.h>

typedef struct {
  int32_t elements;
  int32_t a_offset; /* minus the zero point, as b_offset */
  int32_t b_offset;
  int32_t left_shift; /* the sum's fractional bits; this and the next four: sum only */
  int32_t a_multiplier;
  int32_t a_shift;
  int32_t b_multiplier;
  int32_t b_shift;
  int32_t output_multiplier;
  int32_t output_shift;
  int32_t output_offset; /* the zero point */
  int32_t clamp_low;     /* on the output's integers */
  int32_t clamp_high;
} tinyopt_cmsis_nn_binary_s8;

void tinyopt_add_s8_cmsis_nn(const tinyopt_cmsis_nn_binary_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

void tinyopt_mul_s8_cmsis_nn(const tinyopt_cmsis_nn_binary_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

#endif
