/* Products of three pixels at a time for cores without SIMD: two 32-bit multiplications make three products.
 *
 * The activations x0, x1, x2 of one tap in three pixels lie in two words, a column:
 *   a = x0 + 2^11 * x1      b = x2 + 2^21 * x1   (modulo 2^32)
 * The sums over taps of a * w and b * w then hold, for the sums s0, s1, s2 of the three pixels,
 *   A = s0 + 2^11 * s1      B = s2 + 2^21 * s1   (modulo 2^32)
 * and the three come apart exactly when each is below 2^20 - 2^10: s2 is the low 21 bits of B, the rest of B is s1
 * modulo 2^11, and A / 2^11 is s1 up to an error below 2^10, which that remainder settles. The packing of the weights
 * proves the bound for every possible input and cuts longer sums into segments.
 *
 * Weights: four output channels (c0 to c3) make a block. Per two taps (k, l) it has eight bytes
 *   c0k c1k c0l c1l   c2k c3k c2l c3l
 * and the last block has the first four bytes only when it has no more than two channels. What is missing of taps and
 * channels is zero.
 */
#ifndef TINYOPT_TRIPLES_H
#define TINYOPT_TRIPLES_H

#include "common.h"
#include "narrow.h"

/* Make columns of `taps` taps; returns where the next ones go. pixels: where the three pixels begin. */
int32_t *tinyopt_triples_columns(const int8_t *const pixels[3], int32_t taps, int32_t *columns);

/* Sums over 2 * pairs taps, pairs >= 1, for two channels: A and B of the first, A and B of the second. `step`: bytes
 * from two taps' weights to the next two's (4 or 8). Both pointers are aligned to four. */
void tinyopt_triples_dot_2(const int32_t *columns, const int8_t *weights, int32_t pairs, int32_t step, int32_t *sums);

/* The same for a whole block of four channels. */
void tinyopt_triples_dot_4(const int32_t *columns, const int8_t *weights, int32_t pairs, int32_t *sums);

/* The three sums that A and B hold. */
static inline void tinyopt_triples_split(int32_t a, int32_t b, int32_t *sums) {
  int32_t s2 = (int32_t)((uint32_t)b << 11) >> 11;
  uint32_t remainder = (uint32_t)b - (uint32_t)s2; /* s1 modulo 2^11, in the upper bits */
  int32_t estimate = a >> 11;
  int32_t s1 = estimate + ((int32_t)(remainder - ((uint32_t)estimate << 21)) >> 21);
  sums[0] = a - (int32_t)((uint32_t)s1 << 11);
  sums[1] = s1;
  sums[2] = s2;
}

/* Where a block's outputs come from and go to. Assembly knows the order of the fields. */
typedef struct {
  const int32_t *multipliers; /* of the block's first channel, as are bias, shifts and output */
  const int8_t *shifts;
  const int32_t *bias;
  const int32_t *sums; /* A and B of every channel */
  int8_t *output;
  int32_t per_channel; /* as in conv2d_s8.h */
  int32_t step;        /* bytes from a pixel's outputs to the next one's */
  int32_t pixels;      /* one to three */
  int32_t channels;    /* of the block, at least one */
  int32_t offset;      /* these three as in narrow.h */
  int32_t low;
  uint32_t range;
  const int32_t *totals; /* [channels][3], to be added to the sums, or NULL */
} tinyopt_triples_outputs;

/* Take the sums apart, add bias and totals, requantize and store. Pointers to channels are moved to the next block. */
void tinyopt_triples_finish(tinyopt_triples_outputs *outputs);

#endif
