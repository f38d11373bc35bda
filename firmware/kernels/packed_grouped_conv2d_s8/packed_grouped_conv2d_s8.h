/* 2-D convolution in groups, int8 activations, weights stored as codes of 1, 2 or 4 bits.
 *
 * Each kernel expands the weights of all groups into scratch memory, once for all pixels, and then is the kernel of
 * grouped_conv2d_s8 after which it is named: shapes, contract and result are that kernel's.
 *
 * scratch: the weights as the other kernel reads them, rounded up to a multiple of eight bytes, and behind them what
 * that kernel needs.
 */
#ifndef TINYOPT_PACKED_GROUPED_CONV2D_S8_H
#define TINYOPT_PACKED_GROUPED_CONV2D_S8_H

#include "grouped_conv2d_s8.h"
#include "unpack.h"

typedef struct {
  tinyopt_packed packed;
  tinyopt_grouped_conv2d_s8 dense; /* its weights are not read */
} tinyopt_packed_grouped_conv2d_s8;

void tinyopt_packed_grouped_conv2d_s8_triples(const tinyopt_packed_grouped_conv2d_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch);
void tinyopt_packed_grouped_conv2d_s8_dsp_4x2(const tinyopt_packed_grouped_conv2d_s8 *op, const int8_t *input,
                                              int8_t *output, void *scratch);
void tinyopt_packed_grouped_conv2d_s8_dsp_4x2_relu(const tinyopt_packed_grouped_conv2d_s8 *op, const int8_t *input,
                                                   int8_t *output, void *scratch);
void tinyopt_packed_grouped_conv2d_s8_mve(const tinyopt_packed_grouped_conv2d_s8 *op, const int8_t *input,
                                          int8_t *output, void *scratch);
void tinyopt_packed_grouped_conv2d_s8_mve_rows(const tinyopt_packed_grouped_conv2d_s8 *op, const int8_t *input,
                                               int8_t *output, void *scratch);

#endif
