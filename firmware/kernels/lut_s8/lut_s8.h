/* Any function of one int8 value: a table of its 256 results.
 *
 * input int8 [size], output int8 [size]; output[i] = table[input[i] taken as uint8].
 *
 * The table is computed at plan time by the integer executor, whose results it repeats bit for bit. Pointers need no
 * alignment; the output may be the memory of the input.
 */
#ifndef TINYOPT_LUT_S8_H
#define TINYOPT_LUT_S8_H

#include "common.h"

typedef struct {
  const int8_t *table; /* [256]: results of 0 … 127, then of -128 … -1 */
  int32_t size;
} tinyopt_lut_s8;

/* Portable C. */
void tinyopt_lut_s8_ref(const tinyopt_lut_s8 *op, const int8_t *input, int8_t *output);

/* Helium (MVE). */
void tinyopt_lut_s8_mve(const tinyopt_lut_s8 *op, const int8_t *input, int8_t *output);

#endif
