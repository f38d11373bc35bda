/* Average and max pooling, int8, computed by CMSIS-NN's arm_avgpool_s8 and arm_max_pool_s8.
 *
 * The results are those of average_pool2d_s8.h (for equal scales of input and output) and max_pool2d_s8.h, bit for bit.
 *
 * input int8 [1][input.h][input.w][input.c], output int8 [1][output.h][output.w][input.c]
 * scratch: average: what arm_avgpool_s8_get_buffer_size says for the target, aligned to four bytes
 *
 * Input and output must not overlap.
 */
#ifndef TINYOPT_CMSIS_NN_POOL2D_S8_H
#define TINYOPT_CMSIS_NN_POOL2D_S8_H

#include <arm_nnfunctions.h>

typedef struct {
  cmsis_nn_pool_params params;
  cmsis_nn_dims input;
  cmsis_nn_dims filter;
  cmsis_nn_dims output;
  int32_t scratch_bytes;
} tinyopt_cmsis_nn_pool2d_s8;

void tinyopt_average_pool2d_s8_cmsis_nn(const tinyopt_cmsis_nn_pool2d_s8 *op, const int8_t *input, int8_t *output,
                                        void *scratch);

void tinyopt_max_pool2d_s8_cmsis_nn(const tinyopt_cmsis_nn_pool2d_s8 *op, const int8_t *input, int8_t *output);

#endif
