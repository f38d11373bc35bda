/* Fully connected layer whose weights are mostly zero, int8 activations and weights.
 *
 * Input, output, sums and numerical contract as in fully_connected_s8.h; weights that are zero are neither stored nor
 * multiplied. weights: the stream of sparse.h in the format that the function is named after. Every sum is below 2^23
 * and every shift to the right.
 *
 * Pointers need no alignment beyond their element type. Input and output must not overlap. No scratch.
 */
#ifndef TINYOPT_SPARSE_FULLY_CONNECTED_S8_H
#define TINYOPT_SPARSE_FULLY_CONNECTED_S8_H

#include "fully_connected_s8.h"

typedef tinyopt_fully_connected_s8 tinyopt_sparse_fully_connected_s8;

/* Portable C. */
void tinyopt_sparse_fully_connected_s8_gaps8(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);
void tinyopt_sparse_fully_connected_s8_gaps4(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);
void tinyopt_sparse_fully_connected_s8_1x4(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);
void tinyopt_sparse_fully_connected_s8_4x1(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);
void tinyopt_sparse_fully_connected_s8_1of4(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);
void tinyopt_sparse_fully_connected_s8_2of4(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);

/* Arm DSP extension. */
void tinyopt_sparse_fully_connected_s8_1x4_dsp(const tinyopt_fully_connected_s8 *op, const int8_t *input,
                                               int8_t *output);
void tinyopt_sparse_fully_connected_s8_4x1_dsp(const tinyopt_fully_connected_s8 *op, const int8_t *input,
                                               int8_t *output);

/* Helium (MVE). weights: the stream of sparse_mve.h, aligned to four, which holds bias, multipliers and shifts too
 * (those fields are not read). */
void tinyopt_sparse_fully_connected_s8_4x16_mve(const tinyopt_fully_connected_s8 *op, const int8_t *input,
                                                int8_t *output);

#endif
