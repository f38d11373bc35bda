/* 2-D convolution, int8 activations, weights in codes of different lengths.
 *
 * Each kernel decodes the weights of the layer into scratch memory, once for all pixels, and then is the kernel of
 * conv2d_s8 after which it is named: shapes, contract, in-place use and result are that kernel's. The values of the
 * stream (huffman.h) are the weights as that kernel reads them.
 *
 * scratch: the weights, rounded up to a multiple of eight bytes, and behind them what that kernel needs.
 */
#ifndef TINYOPT_CODED_CONV2D_S8_H
#define TINYOPT_CODED_CONV2D_S8_H

#include "conv2d_s8.h"
#include "huffman.h"

typedef struct {
  const int8_t *codes;
  int32_t size;            /* of the weights, bytes */
  tinyopt_conv2d_s8 dense; /* its weights are not read */
} tinyopt_coded_conv2d_s8;

/* Decode the weights into scratch memory; returns what is behind them. */
static inline void *tinyopt_coded_conv2d_s8_decode(const tinyopt_coded_conv2d_s8 *op, void *scratch) {
  tinyopt_huffman reader;
  tinyopt_huffman_open(&reader, op->codes);
  tinyopt_huffman_read(&reader, scratch, op->size);
  return (int8_t *)scratch + ((op->size + 7) & ~7);
}

void tinyopt_coded_conv2d_s8_ref(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_coded_conv2d_s8_triples(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                     void *scratch);
void tinyopt_coded_conv2d_s8_dsp(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_coded_conv2d_s8_dsp_4x2(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                     void *scratch);
void tinyopt_coded_conv2d_s8_dsp_4x2_relu(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                          void *scratch);
void tinyopt_coded_conv2d_s8_mve(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_coded_conv2d_s8_mve_rows(const tinyopt_coded_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                      void *scratch);

#endif
