/* Blocks of two pixels by all output channels: the inner part of packed int8 products with Helium (MVE).
 *
 * A pixel's activations are `runs` runs of 16 * `vectors` bytes, `skip` bytes from the end of one to the beginning of
 * the next; they are read whole, so what lies behind the taps of a run must be readable, and has zero weights.
 *
 * Weights come as a stream of bytes in the order of consumption, aligned to four. Four output channels are
 *   per run, per vector: 16 weights of each of the four channels;
 *   four biases, four multipliers, four shifts, each int32: all at most -1, or 0 where `low` is at least the zero
 * point. Channels are padded with zeros to a multiple of four.
 *
 * Why: VMLADAVA multiplies and sums sixteen bytes into one of eight even registers; two vectors of activations and
 * four of weights feed eight of them, and four sums of a pixel are then requantized in the lanes of one vector.
 */
#ifndef TINYOPT_BLOCKS_MVE_H
#define TINYOPT_BLOCKS_MVE_H

#include <stdint.h>

typedef struct {
  const int8_t *first; /* activations of the two pixels; they may be the same */
  const int8_t *second;
  int32_t vectors; /* of a run, at least 1 */
  int32_t runs;    /* at least 1 */
  int32_t skip;
  int32_t channels;     /* output channels, at least 1 */
  int8_t *first_output; /* channel 0 of the two pixels; they may be the same */
  int8_t *second_output;
  int32_t zero_point; /* of the output */
  int32_t low;        /* limits of the output */
  int32_t high;
} tinyopt_block_mve;

/* `channels` and both outputs count along: set them anew for the next two pixels. */
void tinyopt_block_mve_2(tinyopt_block_mve *block, const int8_t *stream);

#endif
