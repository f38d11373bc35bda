/* Dot products of int8 rows in portable C. Functions of their own, so that their loops have all registers. */
#ifndef TINYOPT_DOT_H
#define TINYOPT_DOT_H

#include "common.h"

/* sum + x . weights over `size` elements, modulo 2^32. */
int32_t tinyopt_dot_s8(int32_t sum, const int8_t *x, const int8_t *weights, int32_t size);

/* Two sums at once, so that each x is loaded once for both: sums[0] + x . weights and sums[1] + x . next. */
void tinyopt_dot_pair_s8(int32_t *sums, const int8_t *x, const int8_t *weights, const int8_t *next, int32_t size);

#endif
