/* Signs as bits, 32 in a word: products of signs are exclusive ors, and their sum follows from the bits that differ:
 * sum of a * b over n signs = n - 2 * (bits that differ). Small cores have no instruction that counts bits; adding
 * neighbouring bits, then pairs, then the nibbles of three words at once takes about ten instructions a word on
 * Armv7-M, where a table of bytes takes sixteen.
 */
#ifndef TINYOPT_SIGNS_H
#define TINYOPT_SIGNS_H

#include "common.h"

/* Every second bit, every second pair, every second nibble. */
typedef struct {
  uint32_t bits;
  uint32_t pairs;
  uint32_t nibbles;
} tinyopt_sign_masks;

/* In registers where that lets a shift be part of an instruction: GCC prefers immediates, which take one more. */
static TINYOPT_ALWAYS_INLINE tinyopt_sign_masks tinyopt_make_sign_masks(void) {
  tinyopt_sign_masks masks = {0x55555555u, 0x33333333u, 0x0F0F0F0Fu};
#if defined(__GNUC__) && defined(__thumb2__)
  __asm__("" : "+r"(masks.bits), "+r"(masks.pairs), "+r"(masks.nibbles));
#endif
  return masks;
}

/* The bits of each nibble, counted. */
static TINYOPT_ALWAYS_INLINE uint32_t tinyopt_bits_of_nibbles(uint32_t bits, tinyopt_sign_masks masks) {
  bits -= (bits >> 1) & masks.bits;
  return (bits & masks.pairs) + ((bits >> 2) & masks.pairs);
}

/* Nibbles added to their neighbours: four bytes. */
static TINYOPT_ALWAYS_INLINE uint32_t tinyopt_bytes_of_nibbles(uint32_t nibbles, tinyopt_sign_masks masks) {
  return (nibbles & masks.nibbles) + ((nibbles >> 4) & masks.nibbles);
}

/* total plus the four bytes. */
static TINYOPT_ALWAYS_INLINE int32_t tinyopt_add_bytes(int32_t total, uint32_t bytes) {
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
  int32_t sum;
  __asm__("usada8 %0, %1, %2, %3" : "=r"(sum) : "r"(bytes), "r"(0), "r"(total));
  return sum;
#else
  bytes = (bytes & 0x00FF00FFu) + ((bytes >> 8) & 0x00FF00FFu);
  return total + (int32_t)((bytes & 0xFFFFu) + (bytes >> 16));
#endif
}

/* The set bits of a word, and of two. */
static TINYOPT_ALWAYS_INLINE uint32_t tinyopt_bytes_of_one(uint32_t one, tinyopt_sign_masks masks) {
  return tinyopt_bytes_of_nibbles(tinyopt_bits_of_nibbles(one, masks), masks);
}

static TINYOPT_ALWAYS_INLINE uint32_t tinyopt_bytes_of_two(uint32_t one, uint32_t two, tinyopt_sign_masks masks) {
  return tinyopt_bytes_of_nibbles(tinyopt_bits_of_nibbles(one, masks) + tinyopt_bits_of_nibbles(two, masks), masks);
}

static TINYOPT_ALWAYS_INLINE uint32_t tinyopt_bytes_of_three(uint32_t one, uint32_t two, uint32_t three,
                                                             tinyopt_sign_masks masks) {
  uint32_t nibbles = tinyopt_bits_of_nibbles(one, masks) + tinyopt_bits_of_nibbles(two, masks);
  return tinyopt_bytes_of_nibbles(nibbles + tinyopt_bits_of_nibbles(three, masks), masks);
}

/* counts[i] = bits in which `words` > 0 words of the patch differ from row i of the weights, for `rows` rows. With
 * `inside` not NULL only those bits count that are set in it. */
void tinyopt_count_differences(const uint32_t *patch, const uint32_t *inside, const uint32_t *weights, int32_t words,
                               int32_t rows, int32_t *counts);

#endif
