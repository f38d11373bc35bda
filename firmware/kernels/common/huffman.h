/* int8 values in codes of different lengths: frequent values have short ones (canonical Huffman codes).
 *
 * A stream is bytes without alignment:
 *   1  number of different values, less 1
 *  24  how many values have codes of 1, 2, … 12 bits, two bytes each, the low one first
 *      the values, those with short codes first
 *      the codes of all weights without gaps, the first bit of a code being the highest of what is left of a byte
 *   4  bytes that are read but not used
 * Codes of one length are consecutive numbers in the order of the values, and a longer code begins with a number above
 * all shorter ones: so a code is known to be complete when it is below a limit, and its value is found by a difference.
 *
 * A stream is made by the planner and is not checked here. */
#ifndef TINYOPT_HUFFMAN_H
#define TINYOPT_HUFFMAN_H

#include "common.h"

enum { TINYOPT_HUFFMAN_BITS = 12 }; /* of the longest code */

/* Where a stream is being read. */
typedef struct {
  const int8_t *values;
  const uint8_t *next;                       /* byte */
  uint32_t window;                           /* the bits to come, from the highest on */
  int32_t bits;                              /* of the window that are read */
  uint16_t limits[TINYOPT_HUFFMAN_BITS + 1]; /* of each length: codes, filled up to 12 bits, are below */
  int16_t bases[TINYOPT_HUFFMAN_BITS + 1];   /* of each length: index of a value less its code */
} tinyopt_huffman;

void tinyopt_huffman_open(tinyopt_huffman *reader, const int8_t *stream);

/* The next `count` values. */
void tinyopt_huffman_read(tinyopt_huffman *reader, int8_t *to, int32_t count);

#endif
