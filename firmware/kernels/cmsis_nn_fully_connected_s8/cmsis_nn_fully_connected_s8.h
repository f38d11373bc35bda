/* Fully connected layer, int8, computed by CMSIS-NN's arm_fully_connected_s8 or arm_fully_connected_per_channel_s8.
 *
 * The result is that of fully_connected_s8.h, bit for bit. CMSIS-NN must be compiled without
 * CMSIS_NN_USE_SINGLE_ROUNDING.
 *
 * input int8 [input.n][filter.n], output int8 [input.n][output.c], weights [output.c][filter.n]
 *
 * Input and output must not overlap.
 */
#ifndef TINYOPT_CMSIS_NN_FULLY_CONNECTED_S8_H
#define TINYOPT_CMSIS_NN_FULLY_CONNECTED_S8_H

#include <arm_nnfunctions.h>

typedef struct {
  cmsis_nn_fc_params params;
  cmsis_nn_dims input;
  cmsis_nn_dims filter; /* n: length of a row of weights, c: rows */
  cmsis_nn_dims bias;
  cmsis_nn_dims output;
  const int8_t *weights;
  const int32_t *bias_data;   /* [output.c] */
  const int32_t *sums;        /* what the release and the core want summed up beforehand, [output.c], or NULL */
  const int32_t *multipliers; /* [output.c], or [1] for the kernel with one scale */
  const int32_t *shifts;      /* likewise, to the left */
} tinyopt_cmsis_nn_fully_connected_s8;

/* One scale for all outputs. */
void tinyopt_fully_connected_s8_cmsis_nn(const tinyopt_cmsis_nn_fully_connected_s8 *op, const int8_t *input,
                                         int8_t *output);

/* A scale for every output. */
void tinyopt_fully_connected_channels_s8_cmsis_nn(const tinyopt_cmsis_nn_fully_connected_s8 *op, const int8_t *input,
                                                  int8_t *output);

#endif
