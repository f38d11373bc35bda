/* Fully connected layer, int8 activations, weights in codes of different lengths.
 *
 * Input, output, sums and numerical contract as in fully_connected_s8.h. weights: the stream of huffman.h, whose values
 * are the weights [output_size][input_size]. They are decoded as they are multiplied: it takes little flash and much
 * time. Pointers need no alignment beyond their element type. Input and output must not overlap. No scratch.
 */
#ifndef TINYOPT_CODED_FULLY_CONNECTED_S8_H
#define TINYOPT_CODED_FULLY_CONNECTED_S8_H

#include "fully_connected_s8.h"

typedef tinyopt_fully_connected_s8 tinyopt_coded_fully_connected_s8;

/* Portable C. */
void tinyopt_coded_fully_connected_s8_ref(const tinyopt_fully_connected_s8 *op, const int8_t *input, int8_t *output);

#endif
