/* Depthwise 2-D convolution, int8 activations, weights stored as codes of 1, 2 or 4 bits.
 *
 * Each kernel expands the weights of the layer into scratch memory, once for all pixels, and then is the kernel of
 * depthwise_conv2d_s8 after which it is named: shapes, contract, in-place use and result are that kernel's.
 *
 * scratch: the weights as the other kernel reads them, rounded up to a multiple of eight bytes, and behind them what
 * that kernel needs.
 */
#ifndef TINYOPT_PACKED_DEPTHWISE_CONV2D_S8_H
#define TINYOPT_PACKED_DEPTHWISE_CONV2D_S8_H

#include "depthwise_conv2d_s8.h"
#include "unpack.h"

typedef struct {
  tinyopt_packed packed;
  tinyopt_depthwise_conv2d_s8 dense; /* its weights are not read */
} tinyopt_packed_depthwise_conv2d_s8;

void tinyopt_packed_depthwise_conv2d_s8_ref(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                            int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_lines_3x3(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                                  int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_dsp(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                            int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_dsp_3x3(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                                int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_dsp_3x3_stride_2(const tinyopt_packed_depthwise_conv2d_s8 *op,
                                                         const int8_t *input, int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_dsp_3x3_relu(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                                     int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_dsp_3x3_relu_stride_2(const tinyopt_packed_depthwise_conv2d_s8 *op,
                                                              const int8_t *input, int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_dsp_lines(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                                  int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_mve(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                            int8_t *output, void *scratch);
void tinyopt_packed_depthwise_conv2d_s8_mve_3x3(const tinyopt_packed_depthwise_conv2d_s8 *op, const int8_t *input,
                                                int8_t *output, void *scratch);

#endif
