/* Blocks of four pixels or one by all output channels: the inner part of packed int8 products on the Arm DSP
 * extension.
 *
 * Weights come as a stream of 32-bit words in the order of consumption. A pair of output channels (low, high) is
 *   the first word of weights; bias of low; bias of low + 256 * bias of high, modulo 2^32; the other words of weights;
 *   what requantization needs, see below.
 * Words of weights: per run, per four taps k, two words, taps (k, k+2) and (k+1, k+3); a half is 256 * weight of high
 * + weight of low.
 * Weights that are missing to four taps are zero; where one tap alone is left there is no second word. An odd last
 * channel is the low one of a pair.
 *
 * Why: SMLAD on a half that holds both weights adds 256 * x * high + x * low. With the sum over low alone (SXTB16 gives
 * its weights), the difference is 256 times the sum over high: one unpacking instruction serves both channels. It is
 * exact while the sum over high, with its bias, stays below 2^23; the packing checks that for every possible input.
 *
 * Columns are the activations of a block, widened to pairs of halves: per four taps, taps (k, k+2) of every pixel, then
 * taps (k+1, k+3) of every pixel.
 *
 * Shifts are one word: in byte 0 of low, in byte 2 of high; bit 31 is set in the last pair, and bit 30 if that has no
 * high channel.
 *
 * Requantization, any outputs: multiplier of low; of high; shifts: to the right, - 1.
 * SMMULR of twice the sum is the rounding doubling high multiply (the sum stays below 2^30); adding the sign, shifting,
 * adding 2 * zero point + 1 and halving is the rounding shift right, ties away from zero.
 *
 * Requantization, outputs at the zero point or above (relu): shifts: of low to the left, 16 - right, before the
 * multiplication; of high to the right, right + 7, after it; multiplier and offset of low; of high. Of what is above
 * the zero point no tie is rounded down, so both roundings are one constant. Of the sum * 2^left * multiplier / 2^32 of
 * SMMLA, 2^(left - 1) are one in the result of the doubling high multiply; with left at least 2 and half = 2^(left +
 * right - 2), it is offset = 2^(left - 2) + half + zero point * 2 * half, and the result is to be shifted right by left
 * + right - 1. The sum over high comes with its 2^8; that over low is shifted so that SSAT can shift the result, by 15,
 * a constant. What is below the zero point stays below or at it, to be clamped. Sums of high stay below 2^23, of low
 * below 2^(31 - left). A low channel that cannot leave the zero point may have multiplier 0 and any shift. Where right
 * is zero or negative there is no second rounding: offset is without 2^(left - 2), and left is larger than 16.
 */
#ifndef TINYOPT_BLOCKS_DSP_H
#define TINYOPT_BLOCKS_DSP_H

#include <stdint.h>

typedef struct {
  const uint32_t *columns;
  const uint32_t *enter; /* columns at the entry into the loop over words */
  const uint32_t *end;   /* of the columns */
  int32_t ahead;         /* bytes of the stream before the first whole round of that loop, but for the first word */
  int32_t code;          /* bytes from the loop to its entry */
  int32_t offset;        /* 2 * output zero point + 1; not read by relu */
  int32_t stride;        /* bytes from a pixel's outputs to the next pixel's */
} tinyopt_block;

/* Set `enter` to `code` of a block, of which the rest is set, for the functions of so many pixels, 4 or 1. words: of a
 * pixel, at least 1. Once for any number of blocks. */
void tinyopt_block_prepare(tinyopt_block *block, int32_t words, int32_t pixels);

/* Outputs saturate to int8. output: channel 0 of the block's first pixel. */
void tinyopt_block_4(const tinyopt_block *block, const uint32_t *stream, int8_t *output);
void tinyopt_block_1(const tinyopt_block *block, const uint32_t *stream, int8_t *output);

/* The same for outputs that are clamped at the zero point or above it, which is the caller's part if the zero point is
 * above -128. */
void tinyopt_block_4_relu(const tinyopt_block *block, const uint32_t *stream, int8_t *output);
void tinyopt_block_1_relu(const tinyopt_block *block, const uint32_t *stream, int8_t *output);

/* Words of a run of taps. */
static inline int32_t tinyopt_block_words(int32_t taps) {
  return (taps + 3) / 4 * 2 - (taps % 4 == 1 ? 1 : 0);
}

/* Widen a run of `taps` activations of one pixel of a block of `pixels`; `columns`: the pixel's first word. Reads
 * exactly `taps` bytes; what is missing to a multiple of four becomes zero. */
void tinyopt_block_widen(const int8_t *patch, int32_t taps, int32_t pixels, uint32_t *columns);

/* Widen `runs` runs, `step` bytes apart, of four pixels, from where each begins. Reads four bytes for every two words
 * or one that is left. */
void tinyopt_block_widen_4(const int8_t *const from[4], uint32_t *columns, int32_t words, int32_t runs, int32_t step);

/* Clamp `count` outputs after the fact, for activations narrower than int8. */
void tinyopt_block_clamp(int8_t *output, int32_t count, int32_t low, int32_t high);

#endif
