/* Depthwise 2-D convolution, int8, computed by CMSIS-NN's arm_depthwise_conv_wrapper_s8.
 *
 * The result is that of depthwise_conv2d_s8.h, bit for bit; the planner offers this kernel only for shapes for which
 * that holds. CMSIS-NN must be compiled without CMSIS_NN_USE_SINGLE_ROUNDING.
 *
 * input  int8 [1][input.h][input.w][input.c]
 * output int8 [1][output.h][output.w][output.c]
 * weights [1][filter.h][filter.w][output.c]
 * scratch: what arm_depthwise_conv_wrapper_s8_get_buffer_size says for the target, aligned to four bytes
 *
 * Input and output must not overlap.
 */
#ifndef TINYOPT_CMSIS_NN_DEPTHWISE_CONV2D_S8_H
#define TINYOPT_CMSIS_NN_DEPTHWISE_CONV2D_S8_H

#include <arm_nnfunctions.h>

typedef struct {
  cmsis_nn_dw_conv_params params;
  cmsis_nn_dims input;
  cmsis_nn_dims filter;
  cmsis_nn_dims bias;
  cmsis_nn_dims output;
  const int8_t *weights;
  const int32_t *bias_data;   /* [output.c] */
  const int32_t *multipliers; /* [output.c] */
  const int32_t *shifts;      /* [output.c], to the left */
  int32_t scratch_bytes;
} tinyopt_cmsis_nn_depthwise_conv2d_s8;

void tinyopt_depthwise_conv2d_s8_cmsis_nn(const tinyopt_cmsis_nn_depthwise_conv2d_s8 *op, const int8_t *input,
                                          int8_t *output, void *scratch);

#endif
