/* Elementwise quotient of int8 tensors with broadcasting.
 *
 * a, b int8 of any shapes that broadcast; output int8 of the broadcast shape.
 *
 * The quotient of the centred integers is the numerator, shifted up as far as it fits, times a 31-bit reciprocal of the
 * divisor, requantized by a_scale / (b_scale * output_scale). This equals TensorFlow Lite Micro's DIV bit for bit where
 * that is defined; where it shifts by more than 31 bits the result here is zero, where it would shift to the left the
 * result saturates. A division by zero gives the limit of the dividend's sign, 0 / 0 gives zero.
 *
 * Pointers need no alignment. The output may be the memory of an input that has the output's shape.
 */
#ifndef TINYOPT_DIV_S8_H
#define TINYOPT_DIV_S8_H

#include "broadcast.h"
#include "common.h"
#include "fixed_point.h"

typedef struct {
  const int8_t *constant; /* the operand that is no activation, or NULL */
  int32_t constant_first; /* 1: the constant is a; 0: it is b */
  tinyopt_broadcast broadcast;
  int32_t a_zero_point;
  int32_t b_zero_point;
  int32_t multiplier;
  int32_t shift;
  int32_t output_zero_point;
  int32_t clamp_low; /* on the output's integers */
  int32_t clamp_high;
} tinyopt_div_s8;

/* Portable C; two activations. */
void tinyopt_div_s8_ref(const tinyopt_div_s8 *op, const int8_t *a, const int8_t *b, int8_t *output);

/* Portable C; one activation and the constant. */
void tinyopt_div_s8_constant_ref(const tinyopt_div_s8 *op, const int8_t *input, int8_t *output);

#endif
