/* 2-D convolution whose weights are mostly zero, int8 activations and weights; groups must be 1.
 *
 * Input, output, sums and numerical contract as in conv2d_s8.h; weights that are zero are neither stored nor
 * multiplied. weights: the stream of sparse.h in the format that the function is named after; a row's inputs are the
 * taps [kernel_height][kernel_width][input_channels]. Every sum is below 2^23 and every shift to the right.
 *
 * The taps of several pixels are made into columns once, and every output channel then walks past them: the price of a
 * weight's position is paid once for all of them.
 *
 * Pointers need no alignment beyond their element type; scratch is aligned to eight.
 * In place: a 1x1 convolution of stride 1 without padding may have its output begin where its input begins, if it has
 * no more channels. Any other may write over inputs that it has read: pixels are computed in order, and all inputs of
 * three pixels (with the DSP extension, four) are read before their outputs are written. */
#ifndef TINYOPT_SPARSE_CONV2D_S8_H
#define TINYOPT_SPARSE_CONV2D_S8_H

#include "conv2d_s8.h"

typedef tinyopt_conv2d_s8 tinyopt_sparse_conv2d_s8;

/* Portable C, three pixels at a time. scratch: the columns, 8 bytes per tap, and behind them, unless contiguous, three
 * rows of taps. */
void tinyopt_sparse_conv2d_s8_gaps8(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_sparse_conv2d_s8_gaps4(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_sparse_conv2d_s8_1x4(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_sparse_conv2d_s8_4x1(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_sparse_conv2d_s8_1of4(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_sparse_conv2d_s8_2of4(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* Arm DSP extension, four pixels at a time. scratch: the columns, 8 bytes per tap, and behind them, unless contiguous,
 * four rows of taps. */
void tinyopt_sparse_conv2d_s8_gaps8_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                        void *scratch);
void tinyopt_sparse_conv2d_s8_gaps4_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output,
                                        void *scratch);
void tinyopt_sparse_conv2d_s8_1x4_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_sparse_conv2d_s8_4x1_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_sparse_conv2d_s8_1of4_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);
void tinyopt_sparse_conv2d_s8_2of4_dsp(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

/* Helium (MVE), a pixel at a time. weights: the stream of sparse_mve.h, aligned to four, which holds bias, multipliers
 * and shifts too (those fields are not read). scratch: the patch, or 0 when contiguous. Not in place: the inputs of a
 * pixel are read again for every four of its outputs. */
void tinyopt_sparse_conv2d_s8_4x16_mve(const tinyopt_conv2d_s8 *op, const int8_t *input, int8_t *output, void *scratch);

#endif
