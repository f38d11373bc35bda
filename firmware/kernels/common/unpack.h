/* Weights that are stored as codes of 1, 2 or 4 bits, and their expansion to the bytes that a kernel for int8 weights
 * reads.
 *
 * Any int8 weights with at most 2, 4 or 16 different values can be stored so: int4, ternary and binary ones as well as
 * those of a codebook. The bytes are put in the other kernel's own order before they are coded, so one expansion serves
 * them all. What that order has between the weights (biases, multipliers) is stored as it is.
 *
 * Codes are taken from words of 32 bits, each of which holds 32 / bits weights: bits k * bits and up of its four bytes
 * are the codes of weights 4 k to 4 k + 3. So a shift and a mask make the codes of four weights, a byte each.
 */
#ifndef TINYOPT_UNPACK_H
#define TINYOPT_UNPACK_H

#include "common.h"

typedef struct {
  const uint32_t *codes; /* a block after the other, each begins with a new word */
  const int8_t *others;  /* what stands between the weights, a block after the other; NULL: nothing */
  const int8_t *values;  /* the weight of each code; NULL: low + step * code */
  int32_t bits;          /* of a code: 1, 2 or 4 */
  int32_t step;          /* 1 or more; step times the largest code is at most 127 */
  int32_t low;
  int32_t blocks; /* of the layer, the last one filled up */
  int32_t halves; /* 1: two weights (low, high) become the int16 256 * high + low, low byte first */
  /* Bytes of a block, each a multiple of four: weights, others, weights, others. */
  int32_t first;
  int32_t first_others;
  int32_t second;
  int32_t second_others;
} tinyopt_packed;

/* Where the next block begins. */
typedef struct {
  const uint32_t *codes;
  const int8_t *others;
} tinyopt_packed_at;

static inline tinyopt_packed_at tinyopt_packed_begin(const tinyopt_packed *packed) {
  return (tinyopt_packed_at){packed->codes, packed->others};
}

/* Bytes that a block becomes. */
static inline int32_t tinyopt_packed_block(const tinyopt_packed *packed) {
  return packed->first + packed->first_others + packed->second + packed->second_others;
}

/* Expand the next `blocks` blocks; `to` is aligned to four and has room for them. */
void tinyopt_unpack(const tinyopt_packed *packed, tinyopt_packed_at *at, int32_t blocks, int8_t *to);

/* Expand all blocks; returns the memory behind them, at a multiple of eight bytes from `to`. */
static inline int8_t *tinyopt_unpack_all(const tinyopt_packed *packed, int8_t *to) {
  tinyopt_packed_at at = tinyopt_packed_begin(packed);
  tinyopt_unpack(packed, &at, packed->blocks, to);
  return to + ((packed->blocks * tinyopt_packed_block(packed) + 7) & ~7);
}

#endif
