/* Signs as bits, 32 in a word: products of signs are exclusive ors, and their sum follows from the bits that differ:
 * sum of a * b over n signs = n - 2 * (bits that differ). Small cores have no instruction that counts bits; adding
 * neighbouring bits, then pairs, then nibbles of three words at once takes 9 instructions a word on Armv7-M, where a
 * table of bytes takes 16.
 */
#ifndef TINYOPT_SIGNS_H
#define TINYOPT_SIGNS_H

#include "common.h"

/* The bits of each nibble, counted. */
static inline uint32_t tinyopt_bits_of_nibbles(uint32_t bits) {
  bits -= (bits >> 1) & 0x55555555u;
  return (bits & 0x33333333u) + ((bits >> 2) & 0x33333333u);
}

/* Nibbles added to their neighbours: four bytes. */
static inline uint32_t tinyopt_bytes_of_nibbles(uint32_t nibbles) {
  return (nibbles & 0x0F0F0F0Fu) + ((nibbles >> 4) & 0x0F0F0F0Fu);
}

static inline int32_t tinyopt_sum_of_bytes(uint32_t bytes) {
  bytes = (bytes & 0x00FF00FFu) + ((bytes >> 8) & 0x00FF00FFu);
  return (int32_t)((bytes & 0xFFFFu) + (bytes >> 16));
}

/* Bits in which `words` > 0 words of a and b differ. */
static inline int32_t tinyopt_count_differences(const uint32_t *a, const uint32_t *b, int32_t words) {
  int32_t total = 0;
  do {
    int32_t part = words < 27 ? words : 27; /* bytes hold the sums of 27 words and two more */
    uint32_t bytes = 0;
    words -= part;
    for (; part >= 3; part -= 3, a += 3, b += 3) {
      uint32_t nibbles = tinyopt_bits_of_nibbles(a[0] ^ b[0]) + tinyopt_bits_of_nibbles(a[1] ^ b[1]);
      bytes += tinyopt_bytes_of_nibbles(nibbles + tinyopt_bits_of_nibbles(a[2] ^ b[2]));
    }
    if (part > 0) {
      uint32_t nibbles = tinyopt_bits_of_nibbles(*a++ ^ *b++);
      if (part > 1) {
        nibbles += tinyopt_bits_of_nibbles(*a++ ^ *b++);
      }
      bytes += tinyopt_bytes_of_nibbles(nibbles);
    }
    total += tinyopt_sum_of_bytes(bytes);
  } while (words > 0);
  return total;
}

#endif
